"""Runs a model in this process with llama.cpp, without a server, a GPU or a key."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import xllamacpp

from llm_streaming.engines.base import ChunkReader, Engine, bad_request, engine_error, unloaded
from llm_streaming.engines.llamacpp.generation import Generation, stop
from llm_streaming.engines.llamacpp.model_file import resolve_model
from llm_streaming.engines.llamacpp.server import load_server, server_params
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.engines.llamacpp.watchdog import Watchdog
from llm_streaming.engines.settings import complete_request, schema_warnings
from llm_streaming.errors import EngineError


class LlamaCppEngine(Engine):
    """A loaded model; create one with `load`.

    Each answer has its own thread, and llama.cpp computes the tokens of all answers in common batches. At most
    ``n_parallel`` requests run at a time. Others wait here, because llama.cpp cannot cancel a waiting request.

    llama.cpp reads one prompt at a time, in the order of the requests. It would fill each batch with the prompts of its
    first slots, so that a user who sends one long prompt after another could keep the other slots waiting for ever.
    """

    def __init__(self, server: xllamacpp.Server, settings: LlamaCppSettings) -> None:
        self._server: xllamacpp.Server | None = server
        self._settings = settings
        self._defaults = {"seed": settings.seed, **settings.default_generate_kwargs}
        self._readers = settings.readers(set())
        self._slots = asyncio.Semaphore(settings.n_parallel)
        self._reading_prompt = asyncio.Lock()
        self._watchdog = Watchdog(settings.stall_timeout)
        self._running: set[Generation] = set()
        # Also runs when the interpreter exits, because a thread that returns from C++ later would abort the process.
        self._stop = weakref.finalize(self, stop, self._running)

    @classmethod
    async def load(cls, settings: LlamaCppSettings, folder: Path) -> Self:
        """Load a model in a thread. `folder` is the base folder for a relative path of the model's file.

        Raises:
            EngineError: the file does not exist, or llama.cpp cannot read it.
        """
        path = resolve_model(settings.model, folder)
        return cls(await asyncio.to_thread(load_server, server_params(path, settings)), settings)

    @property
    def running(self) -> int:
        """The number of answers that are being generated."""
        return len(self._running)

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Stream an answer. Closing the stream waits until llama.cpp stops, after the current token or prompt batch.

        Raises:
            EngineError: llama.cpp fails, or does not support something in the request.
        """
        body = complete_request(request, self._defaults, "llama.cpp", self._readers)
        async with AsyncExitStack() as prompt:
            await prompt.enter_async_context(self._reading_prompt)
            await self._slots.acquire()
            if self._server is None:
                self._slots.release()
                raise unloaded()
            generation = Generation(self._server, body, self._watchdog, self._end)
            self._running.add(generation)
            reader = ChunkReader("llama.cpp", _error)
            try:
                while (data := await generation.read()) is not None:
                    chunk = reader.read(data)
                    if "prompt_progress" not in chunk:
                        await prompt.aclose()  # the next prompt can be read
                        yield chunk
            finally:
                generation.cancel()
                await generation.wait()
        if self._server is None and not reader.finished:
            raise unloaded()
        reader.end()

    def warnings(self, request: dict[str, Any]) -> list[str]:
        """Return a sentence about the keywords of schemas that llama.cpp does not follow."""
        return schema_warnings(request, self._settings.readers)

    def _end(self, generation: Generation) -> None:
        self._running.discard(generation)
        self._slots.release()

    async def close(self) -> None:
        """Stop every stream, wait until all have stopped, and free the model. Do not wait for a stalled thread."""
        server, self._server = self._server, None
        await asyncio.to_thread(self._stop)
        for generation in list(self._running):
            generation.fail(unloaded())
        del server


def _error(error: Any) -> EngineError:  # noqa: ANN401 - JSON
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        return bad_request(
            f"The prompt has {error['n_prompt_tokens']} tokens and the context holds {error['n_ctx']}: "
            "shorten the messages, or raise n_ctx.",
            code="context_length_exceeded",
        )
    return engine_error(error)
