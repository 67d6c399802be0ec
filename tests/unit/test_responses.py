"""A streamed event is what MLServer would have made of it the slow way."""

from typing import Any

import pytest
from mlserver.grpc.converters import ModelInferResponseConverter
from mlserver.rest.responses import ServerSentEvent
from mlserver.types import Parameters

from llm_streaming.protocol import Event
from llm_streaming.runtimes.responses import StreamedResponse, whole_response

TEXT: Event = [
    ("role", b"assistant"),
    ("content", ' 🙂 "quoted"\n'.encode()),
    ("type", b"text"),
    ("output_all", b'{"id":"1","choices":[]}'),
]
CALL: Event = [*TEXT[:3], ("tool_calls", b'[{"index":0}]'), TEXT[3]]
TOLD = {"error": '{"error":{}}', "status": 422}

events = pytest.mark.parametrize("event", [TEXT, CALL, [TEXT[1]]], ids=["text", "tool call", "one output"])
told = pytest.mark.parametrize("told", [{}, TOLD], ids=["plain", "with an error"])


def slow(event: Event, told: dict[str, Any]) -> Any:
    response = whole_response("m", "1", event)
    response.id = "7"
    response.parameters = Parameters.model_validate(told)
    return response


def fast(event: Event, told: dict[str, Any]) -> Any:
    response = StreamedResponse("m", "1", Parameters(headers={}), [event], told)
    response.id = "7"
    return response


@events
@told
def test_over_rest(event: Event, told: dict) -> None:
    assert ServerSentEvent(fast(event, told)).encode() == ServerSentEvent(slow(event, told)).encode()


@events
@told
@pytest.mark.parametrize("raw", [False, True])
def test_over_grpc(event: Event, told: dict, raw: bool) -> None:
    messages = [ModelInferResponseConverter.from_types(one(event, told), use_raw=raw) for one in (fast, slow)]
    assert messages[0] == messages[1]


def test_events_that_are_sent_together() -> None:
    response: Any = StreamedResponse("m", "1", Parameters(headers={}), [TEXT, CALL])
    response.id = "7"
    each = [ServerSentEvent(slow(event, {})).encode() for event in (TEXT, CALL)]
    assert ServerSentEvent(response).encode() == b"".join(each)
