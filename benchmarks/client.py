"""What it costs to decode one event, for our clients and for the loop that Seldon's walkthrough shows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from mlserver.codecs import StringCodec
from mlserver.grpc import dataplane_pb2
from mlserver.grpc.converters import ModelInferResponseConverter
from mlserver.types import InferenceResponse

from benchmarks import load
from benchmarks.deployment import OURS, deployed
from benchmarks.harness import Figure, Target, interleave, say
from benchmarks.load import ask
from llm_streaming.client.grpc_messages import read_message
from llm_streaming.client.http import read_event
from llm_streaming.client.stream import ChatStream
from llm_streaming.protocol import ChatEvent

_RECORDED = 200  # tokens
_TIMES = 10  # that what was recorded is decoded in a round
_TARGET = Target("ratio", 1 / 3, at_least=False)


def measure(full: bool) -> list[Figure]:
    """Measure on what the relay has sent, over both transports."""
    say("client")
    events, messages = _record()
    variants: dict[str, Callable[[], float]] = {
        "ChatClient": partial(_per_event, partial(_stream, read_event), events),
        "the walkthrough's loop": partial(_per_event, partial(map, _walkthrough), events),
        "GrpcChatClient": partial(_per_event, partial(_stream, read_message), messages),
        "the same loop over gRPC": partial(_per_event, partial(map, _walkthrough_grpc), messages),
    }
    interleave(variants, 1)  # warms up
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
    """The events of one answer as they came over HTTP and over gRPC, at a pace at which each token is one."""
    with deployed() as site:
        http, grpc = site.ports(OURS)
        (over_http,) = ask(load.over_http(http), 1, _RECORDED, rate=200).answers
        (over_grpc,) = ask(load.over_grpc(grpc), 1, _RECORDED, rate=200).answers
    lines = over_http.body.decode().split("\n")
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return events, [message for _, message in over_grpc.pieces]


def _per_event(read: Callable[[Sequence[Any]], Iterable[object]], events: Sequence[Any]) -> float:
    """Microseconds for one event of a stream."""
    started = time.perf_counter()
    for _ in range(_TIMES):
        for _ in read(events):
            pass
    return (time.perf_counter() - started) / _TIMES / len(events) * 1e6


def _stream(decode: Callable[[Any], ChatEvent], messages: Sequence[Any]) -> ChatStream:
    return ChatStream("benchmark", (message for message in messages), decode)


def _walkthrough(data: str) -> str:
    response = InferenceResponse.model_validate_json(data)
    return StringCodec.decode_output(response.outputs[1])[0]


def _walkthrough_grpc(message: bytes) -> str:
    # gRPC's own code parses the message before the loop sees it, so parsing is part of it.
    response = ModelInferResponseConverter.to_types(dataplane_pb2.ModelInferResponse.FromString(message))
    return StringCodec.decode_output(response.outputs[1])[0]
