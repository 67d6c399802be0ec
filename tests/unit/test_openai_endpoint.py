"""OpenAI's paths of a model: what a client that leaves early leaves behind."""

import logging
from collections.abc import Iterator

import pytest
from fastapi import Request

from llm_streaming.runtimes.openai_endpoint import openai_handlers


async def never(*_: object) -> dict[str, object]:
    raise AssertionError("the request never arrived")


@pytest.mark.parametrize("path", [0, 1], ids=["infer", "infer_stream"])
async def test_a_client_that_leaves_while_it_sends_is_no_failure(path: int, caplog: pytest.LogCaptureFixture) -> None:
    messages: Iterator[dict[str, object]] = iter(
        [{"type": "http.request", "body": b'{"mod', "more_body": True}, {"type": "http.disconnect"}]
    )

    async def receive() -> dict[str, object]:
        return next(messages)

    with caplog.at_level(logging.DEBUG):
        response = await openai_handlers("m", never, never)[path](Request({"type": "http"}, receive))  # type: ignore[arg-type]
    assert (response.status_code, caplog.records) == (499, [])
