"""What a model's users feel, as metrics on MLServer's own ``/metrics``.

Names and meanings are OpenTelemetry's semantic conventions for generative AI, in Prometheus' form.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import orjson
from prometheus_client import Gauge, Histogram

from llm_streaming.engines.base import Engine
from llm_streaming.errors import EngineError, ProtocolError

# Buckets are those that the conventions recommend.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_EACH = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
_TOKENS = tuple(4**power for power in range(14))
_MODEL = "gen_ai_request_model"

_DURATION = Histogram(
    "gen_ai_server_request_duration_seconds",
    "Time to answer a request; error_type is empty where it was answered.",
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
    "gen_ai_client_token_usage", "Tokens of a request, in and out.", [_MODEL, "gen_ai_token_type"], buckets=_TOKENS
)
_ACTIVE = Gauge("gen_ai_server_active_requests", "Requests being answered.", [_MODEL])


@contextmanager
def counted_refusals(model: str) -> Iterator[None]:
    """Count a request that is refused while it is read: no engine gets to see it."""
    try:
        yield
    except (ProtocolError, EngineError):
        _DURATION.labels(model, "invalid_request_error").observe(0.0)
        raise


class MeteredEngine:
    """An engine whose calls are measured.

    Args:
        engine: the engine.
        model: the model's name, the label of its figures.
    """

    def __init__(self, engine: Engine, model: str) -> None:
        self._engine = engine
        self._model = model

    @property
    def alive(self) -> bool:
        """Whether the engine can answer."""
        return self._engine.alive

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """Stream an answer: see `llm_streaming.engines.base.Engine.stream`."""
        started = time.perf_counter()
        first: float | None = None
        usage: dict[str, Any] | None = None
        with self._measured():
            async with aclosing(self._engine.stream(request)) as chunks:
                async for chunk in chunks:
                    # Parsed only where there can be something: the first text, and the usage at the end.
                    if first is None and _has_text(chunk):
                        first = time.perf_counter() - started
                        _FIRST_TOKEN.labels(self._model).observe(first)
                    if b'"usage":{' in chunk:
                        usage = orjson.loads(chunk).get("usage") or usage
                    yield chunk
        self._count(usage)
        tokens = (usage or {}).get("completion_tokens")
        if first is not None and isinstance(tokens, int) and tokens > 1:
            _PER_TOKEN.labels(self._model).observe((time.perf_counter() - started - first) / (tokens - 1))

    async def complete(self, request: dict[str, Any]) -> bytes:
        """The whole answer: see `llm_streaming.engines.base.Engine.complete`."""
        with self._measured():
            completion = await self._engine.complete(request)
        self._count(orjson.loads(completion).get("usage"))
        return completion

    async def close(self) -> None:
        """Close the engine."""
        await self._engine.close()

    @contextmanager
    def _measured(self) -> Iterator[None]:
        started = time.perf_counter()
        kind = ""
        with _ACTIVE.labels(self._model).track_inprogress():
            try:
                yield
            except EngineError as error:
                kind = error.code or error.type
                raise
            except BaseException as error:
                left = isinstance(error, GeneratorExit | asyncio.CancelledError)
                kind = "cancelled" if left else type(error).__name__
                raise
            finally:
                _DURATION.labels(self._model, kind).observe(time.perf_counter() - started)

    def _count(self, usage: dict[str, Any] | None) -> None:
        for kind, key in (("input", "prompt_tokens"), ("output", "completion_tokens")):
            if usage and isinstance(usage.get(key), int):
                _USAGE.labels(self._model, kind).observe(usage[key])


def _has_text(chunk: bytes) -> bool:
    choices = orjson.loads(chunk).get("choices") or ()
    return any((choice.get("delta") or {}).get("content") for choice in choices)
