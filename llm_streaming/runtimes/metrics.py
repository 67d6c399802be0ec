"""Request metrics on MLServer's own ``/metrics``: duration, time to first token, token counts and active requests.

Names and meanings follow OpenTelemetry's semantic conventions for generative AI, in Prometheus' format.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from prometheus_client import Gauge, Histogram

from llm_streaming.errors import EngineError, ProtocolError
from llm_streaming.protocol.response import sendable

# The conventions recommend these buckets.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_EACH = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_TOKENS = tuple(4**power for power in range(14))
_MODEL = "gen_ai_request_model"

_DURATION = Histogram(
    "gen_ai_server_request_duration_seconds",
    "Time to answer a request; error_type is empty if the request succeeded.",
    [_MODEL, "error_type"],
    buckets=_SECONDS,
)
_FIRST_TOKEN = Histogram(
    "gen_ai_server_time_to_first_token_seconds", "Time to the first token of a stream.", [_MODEL], buckets=_FIRST
)
_PER_TOKEN = Histogram(
    "gen_ai_server_time_per_output_token_seconds", "Time for each token after the first.", [_MODEL], buckets=_EACH
)
_USAGE = Histogram(
    "gen_ai_client_token_usage", "Input and output tokens of a request.", [_MODEL, "gen_ai_token_type"], buckets=_TOKENS
)
_ACTIVE = Gauge("gen_ai_server_active_requests", "Requests being answered.", [_MODEL])


@contextmanager
def count_malformed(model: str) -> Iterator[None]:
    """Count a failed request if the enclosed code, which decodes the request, raises an error."""
    try:
        yield
    except (ProtocolError, EngineError):
        _DURATION.labels(model, "invalid_request_error").observe(0.0)
        raise


class RequestMetrics:
    """A context manager that measures one request to a model's engine, from entry to exit."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._first_token: float | None = None  # seconds after the start
        self._usage: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        _ACTIVE.labels(self._model).inc()
        return self

    def observe(self, chunk: Mapping[str, Any]) -> None:
        """Record a chunk of the answer, or the whole completion."""
        if self._first_token is None and _has_text(chunk):
            self._first_token = time.perf_counter() - self._started
            _FIRST_TOKEN.labels(self._model).observe(self._first_token)
        self._usage = chunk.get("usage") or self._usage

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        seconds = time.perf_counter() - self._started
        _ACTIVE.labels(self._model).dec()
        _DURATION.labels(self._model, _error_type(error)).observe(seconds)
        if error is None:
            self._observe_tokens(seconds)

    def _observe_tokens(self, seconds: float) -> None:
        for kind, key in (("input", "prompt_tokens"), ("output", "completion_tokens")):
            if isinstance(self._usage.get(key), int):
                _USAGE.labels(self._model, kind).observe(self._usage[key])
        tokens = self._usage.get("completion_tokens")
        if self._first_token is not None and isinstance(tokens, int) and tokens > 1:
            _PER_TOKEN.labels(self._model).observe((seconds - self._first_token) / (tokens - 1))


def _error_type(error: BaseException | None) -> str:
    match error:
        case None:
            return ""
        case EngineError():
            return sendable(error.code or error.type)
        case GeneratorExit() | asyncio.CancelledError():
            return "cancelled"
        case _:
            return type(error).__name__


def _has_text(chunk: Mapping[str, Any]) -> bool:
    return any((choice.get("delta") or {}).get("content") for choice in chunk.get("choices") or ())
