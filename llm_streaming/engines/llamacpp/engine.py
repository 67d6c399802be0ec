"""Runs a model in this process with llama.cpp: no server, no GPU, no key."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import xllamacpp

from llm_streaming.engines.base import ChunkReader, collect
from llm_streaming.engines.errors import bad_request, engine_error, refuse_unknown, unloaded
from llm_streaming.engines.llamacpp.model_file import resolve_model
from llm_streaming.engines.llamacpp.settings import PARAMETERS, LlamaCppSettings
from llm_streaming.engines.llamacpp.thread_stream import ThreadStream
from llm_streaming.errors import EngineError

# A generation can be cancelled only when llama.cpp reports something: the progress, while it reads the prompt.
_ALWAYS = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
_PROGRESS = "prompt_progress"


class LlamaCppEngine:
    """A loaded model; make one with `load`.

    Each answer is generated on a thread of its own, and llama.cpp computes them in batches. Requests beyond
    ``n_parallel`` wait here and not in llama.cpp, where a waiting request cannot be cancelled.

    Args:
        server: llama.cpp with the model.
        settings: the settings that it was loaded with.
    """

    alive = True  # it lives as long as this process

    def __init__(self, server: xllamacpp.Server, settings: LlamaCppSettings) -> None:
        self._server: xllamacpp.Server | None = server
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.n_parallel)
        self._running: set[ThreadStream] = set()
        # Also runs when the interpreter exits: a thread that returned from C++ after that would abort the process.
        self._stop = weakref.finalize(self, _stop, self._running)

    @classmethod
    async def load(cls, settings: LlamaCppSettings, folder: Path) -> LlamaCppEngine:
        """Load a model, in a thread.

        Args:
            settings: the model's name and how to run it.
            folder: the folder in which a relative path of a model starts.

        Raises:
            EngineError: the file is not there, or llama.cpp cannot read it.
        """
        path = resolve_model(settings.model, folder)
        try:
            server = await asyncio.to_thread(xllamacpp.Server, server_params(path, settings))
        except RuntimeError:
            raise EngineError(f"llama.cpp cannot load {path.name}: it has to be a whole .gguf file.") from None
        return cls(server, settings)

    @property
    def running(self) -> int:
        """The number of answers that are being generated."""
        return len(self._running)

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Stream an answer: see `llm_streaming.engines.base.Engine.stream`.

        Closing the generator waits until the generation has ended, one token or one batch of the prompt later.
        """
        body = self._body(request)
        await self._slots.acquire()
        if self._server is None:
            self._slots.release()
            raise unloaded()
        thread = self._start(self._server, body)
        reader = ChunkReader("llama.cpp", _error)
        try:
            async with aclosing(thread.read()) as lines:
                async for line in lines:
                    chunk = reader.read(line)
                    if _PROGRESS not in chunk:
                        yield chunk
        finally:
            thread.cancel()
            await thread.wait()
        if self._server is None and not reader.finished:
            raise unloaded()
        reader.end()

    async def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make a whole answer, collected from a stream: see `llm_streaming.engines.base.Engine.complete`."""
        return await collect(self.stream(request))

    async def close(self) -> None:
        """End every stream, wait until all have ended, and free the model."""
        server, self._server = self._server, None
        await asyncio.to_thread(self._stop)
        del server

    def _body(self, request: dict[str, Any]) -> bytes:
        """Write the request as llama.cpp reads it.

        Raises:
            EngineError: it asks for something that llama.cpp would ignore, or get wrong.
        """
        # In OpenAI's API a null means "not given"; llama.cpp would take a null seed for a random one.
        given = {name: value for name, value in request.items() if value is not None}
        body = {"seed": self._settings.seed, **self._settings.default_generate_kwargs, **given}
        refuse_unknown("llama.cpp", "parameter", body, PARAMETERS)
        if not body.get("messages"):
            raise bad_request("There are no messages: send at least one.")
        if body.pop("n", 1) != 1:
            raise bad_request("n must be 1: llama.cpp does not tell the choices of a stream apart.")
        if body.get("tool_choice") not in (None, "auto", "none"):
            raise bad_request("tool_choice must be auto or none: llama.cpp cannot be relied on to force a call.")
        return orjson.dumps(body | _ALWAYS)

    def _start(self, server: xllamacpp.Server, body: bytes) -> ThreadStream:
        def generate(stream: ThreadStream) -> None:
            try:
                server.handle_chat_completions(body, stream.emit)
            except (ValueError, RuntimeError) as error:  # it raises for malformed requests only
                raise bad_request(f"llama.cpp refused the request: {error}.") from None

        def end(stream: ThreadStream) -> None:
            self._running.discard(stream)
            self._slots.release()

        thread = ThreadStream(generate, end)
        self._running.add(thread)
        return thread


def server_params(path: Path, settings: LlamaCppSettings) -> xllamacpp.CommonParams:
    """Make llama.cpp's parameters for a model, for an engine or for a server of its own.

    Args:
        path: the model's file.
        settings: how to run it.
    """
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {Path(settings.model).name.removesuffix(".gguf")}  # otherwise chunks name the whole path
    # Each slot has a context of its own. When a shared one is full, every stream fails, and an answer depends on the
    # other streams even with the same seed.
    params.n_ctx = settings.n_ctx * settings.n_parallel
    params.n_parallel = settings.n_parallel
    params.n_batch = params.n_ubatch = settings.n_batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.n_threads
    params.cache_ram_mib = 0  # by default llama.cpp keeps past prompts, in up to 8 GB
    params.fit_params = False  # measuring free memory first would take seconds
    params.verbosity = -1
    # llama.cpp always listens on a port of loopback: without this key nobody can use it.
    params.api_keys = [secrets.token_hex()]
    params.cors_origins = ""
    params.ui = params.endpoint_slots = False
    return params


def _stop(running: set[ThreadStream]) -> None:
    streams = list(running)
    for stream in streams:
        stream.cancel()
    for stream in streams:
        stream.join()


def _error(error: Any) -> EngineError:  # noqa: ANN401 - JSON
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        return bad_request(
            f"The prompt has {error['n_prompt_tokens']} tokens and the context holds {error['n_ctx']}: "
            "shorten the messages, or raise n_ctx.",
            code="context_length_exceeded",
        )
    return engine_error(error)
