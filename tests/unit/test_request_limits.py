"""The parts of MLServer that the limits of requests rely on, and the sentences about bodies of another shape."""

import json
from typing import Any

import httpx
import mlserver.rest.app
import pytest
from mlserver import Settings
from mlserver.rest.requests import Request

from llm_streaming.errors import ProtocolError
from llm_streaming.protocol import ChatRequest
from llm_streaming.protocol.limits import MOST_ELEMENTS
from llm_streaming.protocol.tensors import Tensor
from llm_streaming.runtimes import request_limits


async def post(content: bytes, kind: str = "application/json") -> tuple[int, Any]:
    """Send a request to MLServer's own HTTP application, and return the status and the body of the answer."""
    no_model: Any = None
    app = mlserver.rest.app.create_app(Settings(debug=False, metrics_endpoint=None), no_model, no_model)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://mlserver") as client:
        response = await client.post("/v2/models/m/infer", content=content, headers={"content-type": kind})
    return response.status_code, response.json()


def test_seam_mlserver_reads_bodies_with_its_own_request_class() -> None:
    assert vars(mlserver.rest.app)["Request"] is Request
    assert Request.body is request_limits._read_body  # noqa: SLF001
    assert Request.json is request_limits._read_json  # noqa: SLF001


async def test_seam_fastapi_passes_on_our_exception_and_mlserver_answers_it() -> None:
    assert await post(b"{") == (422, {"error": "the body: expected JSON, but got b'{'"})


SHAPES: dict[str, tuple[Any, str]] = {
    "no inputs": ({}, "body.inputs: Field required, but got {}"),
    "no list": ({"inputs": 1}, "body.inputs: Input should be a valid list, but got 1"),
    "control characters": (
        {"inputs": "\x1b]0;x\x07"},
        r"body.inputs: Input should be a valid list, but got '\x1b]0;x\x07'",
    ),
    "a long value": ({"inputs": "x" * 1000}, f"body.inputs: Input should be a valid list, but got '{'x' * 59}"),
}


@pytest.mark.parametrize(("body", "message"), SHAPES.values(), ids=SHAPES)
async def test_seam_mlserver_gives_fastapi_our_handler_of_invalid_bodies(body: Any, message: str) -> None:
    assert await post(json.dumps(body).encode()) == (422, {"error": message})


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "text/plain"])
async def test_a_form_is_a_422(kind: str) -> None:
    assert await post(b"a=\xff", kind) == (422, {"error": "the body: expected UTF-8, but got b'a=\\xff'"})
    status, answered = await post(b"a=b", kind)
    assert (status, answered["error"].partition(", but got")[0]) == (
        422,
        "body: Input should be a valid dictionary or object to extract fields from",
    )


def nested(levels: int) -> list[Any]:
    return [nested(levels - 1)] if levels else []


def test_a_request_may_be_nested_a_hundred_levels_deep() -> None:
    body = {"messages": [{"role": "user", "content": "x"}]}
    assert ChatRequest.from_openai({**body, "x": nested(98)}).parameters == {"x": nested(98)}
    with pytest.raises(ProtocolError) as raised:
        ChatRequest.from_openai({**body, "x": nested(100)})
    assert str(raised.value) == "the body: nested deeper than 100 levels, which is the most that is accepted"


def test_a_tensor_may_have_ten_thousand_elements() -> None:
    tensor = Tensor.from_parts("content", "BYTES", [MOST_ELEMENTS], ["x"] * MOST_ELEMENTS)
    assert len(tensor.data) == MOST_ELEMENTS
    with pytest.raises(ProtocolError) as raised:
        Tensor.from_parts("content", "BYTES", [MOST_ELEMENTS + 1], ["x"] * (MOST_ELEMENTS + 1))
    assert str(raised.value) == "tensor 'content': more than 10000 elements, which is the maximum"
