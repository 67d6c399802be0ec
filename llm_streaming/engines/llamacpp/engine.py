"""A model in this process, on llama.cpp: no server, no GPU, no key."""

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

from llm_streaming.engines.chunks import ChunkChecker, engine_error
from llm_streaming.engines.errors import bad_request, refuse_unknown, unloaded
from llm_streaming.engines.llamacpp.model_file import resolve_model
from llm_streaming.engines.llamacpp.settings import PARAMETERS, LlamaCppSettings
from llm_streaming.engines.llamacpp.thread_stream import ThreadStream
from llm_streaming.errors import EngineError
from llm_streaming.protocol import accumulate

# Without the progress of the prompt nothing would be called while it is read, and nothing could be cancelled.
_ALWAYS = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
# Only a key can look like this: inside a JSON string the quotes are escaped.
_PROGRESS = b'"prompt_progress":'


class LlamaCppEngine:
    """A loaded model; make one with `load`.

    Each answer is generated on a thread of its own, which llama.cpp batches with the others. Requests beyond
    ``n_parallel`` wait here and not in llama.cpp, where a waiting request cannot be cancelled.

    Args:
        server: llama.cpp with the model.
        settings: what it was loaded with.
    """

    alive = True  # in this process

    def __init__(self, server: xllamacpp.Server, settings: LlamaCppSettings) -> None:
        self._server: xllamacpp.Server | None = server
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.n_parallel)
        self._running: set[ThreadStream] = set()
        # Also runs at the interpreter's exit: a thread that comes back from C++ after that would abort the process.
        self._stop = weakref.finalize(self, _stop, self._running)

    @classmethod
    async def load(cls, settings: LlamaCppSettings, folder: Path) -> LlamaCppEngine:
        """Load a model, in a thread.

        Args:
            settings: which model, and how.
            folder: where a relative path of a model starts.

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
        """How many answers are being generated."""
        return len(self._running)

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """Stream an answer: see `llm_streaming.engines.base.Engine.stream`.

        Closing the generator returns when the generation has ended, a token or a batch of the prompt later.
        """
        body = self._body(request)
        await self._slots.acquire()
        if self._server is None:
            self._slots.release()
            raise unloaded()
        thread = self._start(self._server, body)
        checker = ChunkChecker("llama.cpp", _error)
        try:
            async with aclosing(thread.read()) as chunks:
                async for chunk in chunks:
                    yield checker.check(chunk)
        finally:
            thread.cancel()
            await thread.wait()
        if self._server is None and not checker.finished:
            raise unloaded()
        checker.end()

    async def complete(self, request: dict[str, Any]) -> bytes:
        """The whole answer, collected from a stream: see `llm_streaming.engines.base.Engine.complete`."""
        async with aclosing(self.stream(request)) as chunks:
            return orjson.dumps(accumulate([orjson.loads(chunk) async for chunk in chunks]))

    async def close(self) -> None:
        """End every stream, wait until they have ended, and free the model."""
        server, self._server = self._server, None
        await asyncio.to_thread(self._stop)
        del server

    def _body(self, request: dict[str, Any]) -> bytes:
        """The request as llama.cpp gets it.

        Raises:
            EngineError: it asks for something that llama.cpp would ignore, or get wrong.
        """
        # OpenAI takes a null for "not given"; llama.cpp would take a null seed for a random one.
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
            def take(chunk: bytes) -> bool:
                return stream.cancelled if _PROGRESS in chunk else stream.emit(chunk)

            try:
                server.handle_chat_completions(body, take)
            except (ValueError, RuntimeError) as error:  # it raises for malformed requests only
                raise bad_request(f"llama.cpp refused the request: {error}.") from None

        def end(stream: ThreadStream) -> None:
            self._running.discard(stream)
            self._slots.release()

        thread = ThreadStream(generate, end)
        self._running.add(thread)
        return thread


def server_params(path: Path, settings: LlamaCppSettings) -> xllamacpp.CommonParams:
    """How llama.cpp is to be set up for a model: for an engine, and for a server of its own."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {Path(settings.model).name.removesuffix(".gguf")}  # else chunks name the whole path
    # Slots do not share their context: when a shared one is full, every stream fails, and what a slot
    # answers depends on its neighbours even with the same seed.
    params.n_ctx = settings.n_ctx * settings.n_parallel
    params.n_parallel = settings.n_parallel
    params.n_batch = params.n_ubatch = settings.n_batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.n_threads
    params.cache_ram_mib = 0  # by default prompts of the past fill up to 8 GB
    params.fit_params = False  # measuring free memory first would take seconds
    params.verbosity = -1
    # llama.cpp listens on a port of loopback in any case; nobody can use it.
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
