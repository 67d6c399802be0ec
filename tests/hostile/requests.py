"""The fuzzer's requests. A seed and an index always make the same request."""

from dataclasses import dataclass, field
from random import Random

from llm_streaming.client.inference_pb2 import ModelInferRequest
from llm_streaming.protocol import ChatRequest, encode_request
from tests.hostile.body_faults import ANYWHERE_FAULTS, OPENAI_FAULTS, TENSOR_FAULTS, TEXT_FAULTS
from tests.hostile.grammar import DOORS, GRPC, HTTP, Body, Expected, Fault, to_json, valid_body
from tests.hostile.parameter_faults import PARAMETER_FAULTS
from tests.hostile.wire_faults import WIRE_FAULTS, Wire
from tests.support.both_runtimes import MODELS, SMALL

VALID = "valid"


@dataclass(frozen=True)
class Case:
    """One request of the fuzzer.

    Attributes:
        index: its number; with the seed it makes the same request again.
        kind: the name of its fault, or `VALID`.
        door: one of `tests.hostile.grammar.DOORS`.
        model: the deployed model that it is for.
        expected: what may become of it.
        question: the text of its last message, which the provider echoes if the request is valid.
        wire: the request itself.
    """

    index: int
    kind: str
    door: str
    model: str
    expected: Expected
    question: str
    wire: Wire = field(repr=False)


FAULTS = [*PARAMETER_FAULTS, *TENSOR_FAULTS, *OPENAI_FAULTS, *TEXT_FAULTS, *ANYWHERE_FAULTS, *WIRE_FAULTS]


def case(seed: int, index: int) -> Case:
    """Make the request with this number."""
    rng = Random(f"{seed} {index}")
    fault = rng.choice(FAULTS) if rng.random() < 0.9 else None
    door = rng.choice(fault.doors if fault else DOORS)
    model = rng.choice(MODELS)
    body = valid_body(rng)
    question = str(body["messages"][-1]["content"])
    wire = _wire(rng, fault, door, model, body)
    expected = fault.expected if fault else Expected.ANSWERED
    if expected == Expected.REFUSED_BY_LOCAL:
        expected = Expected.REFUSED if model == SMALL else Expected.ANY
    return Case(index, fault.name if fault else VALID, door, model, expected, question, wire)


def _wire(rng: Random, fault: Fault | None, door: str, model: str, body: Body) -> Wire:
    def change(stage: str, target: object) -> None:
        if fault and fault.stage == stage:
            fault.apply(rng, target)

    change("parameters", body)
    if door in (*HTTP, *GRPC):
        parameters = {name: value for name, value in body.items() if name != "messages"}
        body = encode_request(ChatRequest(body["messages"])) | {
            "parameters": {"llm_parameters": parameters, "kwargs": parameters}
        }
    else:
        body |= {"model": model, "stream": door == "openai stream", "stream_options": {"include_usage": True}}
    change("body", body)
    if door in GRPC:
        wire = _grpc(door, model, body)
    else:
        text = to_json(body)
        if fault and fault.stage == "text":
            text = fault.apply(rng, text)
        wire = _http(door, model, text)
    change("wire", wire)
    return wire


def _http(door: str, model: str, text: bytes) -> Wire:
    endpoint = "infer_stream" if door.endswith("stream") else "infer"
    path = f"/v2/models/{model}/{endpoint}" + ("/chat/completions" if door.startswith("openai") else "")
    headers = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(text))}
    return Wire(path, {**headers, "connection": "close"}, text)


def _grpc(door: str, model: str, body: Body) -> Wire:
    method = "ModelStreamInfer" if door.endswith("stream") else "ModelInfer"
    message = ModelInferRequest(model_name=model, id="fuzz")
    for name, value in body["parameters"].items():
        message.parameters[name].string_param = to_json(value).decode()
    for tensor in body["inputs"]:
        contents = {"bytes_contents": [element.encode() for element in tensor["data"]]}
        shape = [min(size, 2**63 - 1) for size in tensor["shape"]]
        message.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=shape, contents=contents)
    return Wire(f"/inference.GRPCInferenceService/{method}", {"seldon-model": model}, message.SerializeToString())
