"""Measures the time to decode one event, in our clients and in the loop of Seldon's walkthrough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from mlserver.codecs import StringCodec
from mlserver.grpc import dataplane_pb2
from mlserver.grpc.converters import ModelInferResponseConverter
from mlserver.types import InferenceResponse

from benchmarks import endpoints
from benchmarks.deployment import OURS, deploy
from benchmarks.figures import Figure, Target
from benchmarks.harness import Stopwatch, interleave, log
from benchmarks.load import read_streams
from llm_streaming.client.grpc_messages import read_message
from llm_streaming.client.http import read_event
from llm_streaming.client.stream import ChatStream
from llm_streaming.protocol import ChatEvent

_TOKENS = 200  # tokens in the recorded answer
_REPEATS = 10  # how many times the recorded answer is decoded in a round
_TARGET = Target("ratio", 1 / 3, at_least=False)


def measure(full: bool) -> list[Figure]:
    """Measure the decoding of an answer that was recorded from the relay, over HTTP and over gRPC."""
    log("client")
    events, messages = _record()
    variants: dict[str, Callable[[], float]] = {
        "ChatClient": partial(_per_event, partial(_stream, read_event), events),
        "the walkthrough's loop": partial(_per_event, partial(map, _walkthrough), events),
        "GrpcChatClient": partial(_per_event, partial(_stream, read_message), messages),
        "the same loop over gRPC": partial(_per_event, partial(map, _walkthrough_grpc), messages),
    }
    interleave(variants, 1)  # to warm up
    times = interleave(variants, 25 if full else 9)
    return [
        Figure(
            part="client",
            what=ours,
            size=f"{len(events)} events",
            unit="µs",
            values=times[ours],
            against=theirs,
            references=times[theirs],
            target=_TARGET,
        )
        for ours, theirs in (
            ("ChatClient", "the walkthrough's loop"),
            ("GrpcChatClient", "the same loop over gRPC"),
        )
    ]


def _record() -> tuple[list[str], list[bytes]]:
    """Record an answer over HTTP and over gRPC, slowly enough that each token is an event of its own.

    Returns:
        The data of the HTTP events and the bytes of the gRPC messages.
    """
    with deploy() as deployment:
        http, grpc = deployment.sockets(OURS)
        (over_http,) = read_streams(endpoints.over_http(http), 1, _TOKENS, rate=200).answers
        (over_grpc,) = read_streams(endpoints.over_grpc(grpc), 1, _TOKENS, rate=200).answers
    lines = over_http.body.decode().split("\n")
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return events, [message for _, message in over_grpc.pieces]


def _per_event(read: Callable[[Sequence[Any]], Iterable[object]], events: Sequence[Any]) -> float:
    """Return the time to read one event of a stream, in microseconds."""
    with Stopwatch() as watch:
        for _ in range(_REPEATS):
            for _ in read(events):
                pass
    return watch.seconds / _REPEATS / len(events) * 1e6


def _stream(decode: Callable[[Any], ChatEvent], messages: Sequence[Any]) -> ChatStream:
    return ChatStream("benchmark", (message for message in messages), decode)


def _walkthrough(data: str) -> str:
    response = InferenceResponse.model_validate_json(data)
    return StringCodec.decode_output(response.outputs[1])[0]


def _walkthrough_grpc(message: bytes) -> str:
    # In the walkthrough, gRPC parses each message before the loop reads it, so this function parses it too.
    response = ModelInferResponseConverter.to_types(dataplane_pb2.ModelInferResponse.FromString(message))
    return StringCodec.decode_output(response.outputs[1])[0]
