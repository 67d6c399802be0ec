"""Puts load on an endpoint: many streams that are read at the same time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.endpoints import Endpoint
from benchmarks.harness import RUNNER
from benchmarks.provider import TOKEN
from benchmarks.readers import Answer, Lag


@dataclass(frozen=True)
class Reading:
    """The result of reading streams at the same time.

    Args:
        seconds: the time from the first request to the end of the last answer.
        answers: all answers.
        tokens: the number of tokens in all answers.
        events: the number of events in all answers.
    """

    seconds: float
    answers: list[Answer]
    tokens: int
    events: int

    @property
    def tokens_per_second(self) -> float:
        """Tokens a second, of all streams together."""
        return self.tokens / self.seconds

    @property
    def events_per_second(self) -> float:
        """Events a second, of all streams together."""
        return self.events / self.seconds


def read_streams(endpoint: Endpoint, streams: int, tokens: int, **options: Any) -> Reading:  # noqa: ANN401 - see below
    """Read streams at the same time; the options are those of `read_streams_async`."""
    return RUNNER.run(read_streams_async(endpoint, streams, tokens, **options))


async def read_streams_async(
    endpoint: Endpoint,
    streams: int,
    tokens: int,
    *,
    rate: float | None = None,
    answers: int = 1,
    spread: float = 0.0,
    lag: Lag | None = None,
    text: str = "Hello!",
) -> Reading:
    """Read streams at the same time.

    Args:
        endpoint: the endpoint to read from.
        streams: the number of streams.
        tokens: the number of tokens in each answer.
        rate: tokens a second that the provider sends in each stream; by default as many as the client reads.
        answers: the number of answers that each stream reads, one after the other.
        spread: the time in seconds over which the starts of the streams are spread evenly.
        lag: the pauses of the readers; by default they read without a pause.
        text: the text of the message.

    Raises:
        RuntimeError: an answer does not have all its tokens.
    """
    request = endpoint.encode(text, {"max_tokens": tokens} | ({"rate": rate} if rate else {}))

    async def read(delay: float) -> list[Answer]:
        await asyncio.sleep(delay)
        return [await endpoint.read(endpoint.at, request, lag) for _ in range(answers)]

    started = time.perf_counter()
    groups = await asyncio.gather(*(read(spread * index / streams) for index in range(streams)))
    seconds = time.perf_counter() - started
    found = [answer for group in groups for answer in group]
    for answer in found:
        if answer.body.count(TOKEN) != tokens * endpoint.copies:
            end = answer.body[-2000:].decode(errors="replace")
            raise RuntimeError(f"An answer does not have the {tokens} tokens of its request. It ends with: {end}")
    return Reading(seconds, found, tokens * len(found), sum(map(endpoint.count_events, found)))
