"""Errors of a provider's HTTP responses and connections."""

from __future__ import annotations

import math
from collections.abc import Iterator

import aiohttp
import openai

from llm_streaming.engines.base import engine_error
from llm_streaming.errors import EngineError

SOURCE = "The provider"
"""The provider's name in messages."""

_LONGEST_WAIT = 7 * 24 * 3600  # seconds; a longer retry-after is nonsense


def status_error(failure: openai.APIStatusError) -> EngineError:
    """Build the error for a response with an error status."""
    response, fields = failure.response, failure.body
    if not isinstance(fields, dict) or not fields.get("message"):
        fields = f"{SOURCE} answered {response.status_code} {response.reason_phrase}."
    error = engine_error(fields, status=response.status_code)
    after = response.headers.get("retry-after", "")
    seconds = float(after) if after.replace(".", "", 1).isdecimal() else math.inf
    if seconds <= _LONGEST_WAIT:
        error.retry_after = seconds
        # In a unary response, only the message arrives at the client.
        error.args = (f"{error} (Try again after {seconds:g} s.)",)
    return error


def connection_error(failure: Exception, address: str) -> EngineError:
    """Build the error for a connection that failed, from the causes: the client raises one type for several failures.

    Args:
        failure: an exception of the HTTP client.
        address: ``host:port`` of the provider.
    """
    causes = list(_causes(failure))
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return EngineError(f"{SOURCE} did not answer in time.", status=504, type="timeout")
    message = f"{SOURCE} closed the connection before the answer was complete."
    if any(isinstance(cause, aiohttp.ClientConnectorError) for cause in causes):
        message = f"Cannot reach the provider at {address}: check OPENAI_BASE_URL and that the server is running."
    if any(isinstance(cause, aiohttp.ClientResponseError) for cause in causes):
        message = f"{SOURCE} sent something that is not HTTP."
    return EngineError(message, status=502, type="connection_error")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
