"""Runs a model in this process with llama.cpp: no server, no GPU, no key."""

from __future__ import annotations

import asyncio
import secrets
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Self

import orjson
import xllamacpp

from llm_streaming.engines.base import ChunkReader, Engine, bad_request, engine_error, unloaded
from llm_streaming.engines.llamacpp.model_file import resolve_model
from llm_streaming.engines.llamacpp.settings import PARAMETERS, LlamaCppSettings
from llm_streaming.engines.settings import complete_request
from llm_streaming.errors import EngineError

# A generation can be cancelled only when llama.cpp reports something: the progress, while it reads the prompt.
_ALWAYS = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
_CAPACITY = 64  # chunks that a generation may be ahead of its reader


class LlamaCppEngine(Engine):
    """A loaded model; make one with `load`.

    Each answer is generated on a thread of its own, and llama.cpp computes them in batches. Requests beyond
    ``n_parallel`` wait here and not in llama.cpp, where a waiting request cannot be cancelled.
    """

    def __init__(self, server: xllamacpp.Server, settings: LlamaCppSettings) -> None:
        self._server: xllamacpp.Server | None = server
        self._defaults = {"seed": settings.seed, **settings.default_generate_kwargs}
        self._slots = asyncio.Semaphore(settings.n_parallel)
        self._running: set[_Generation] = set()
        # Also runs when the interpreter exits: a thread that returned from C++ after that would abort the process.
        self._stop = weakref.finalize(self, _stop, self._running)

    @classmethod
    async def load(cls, settings: LlamaCppSettings, folder: Path) -> Self:
        """Load a model, in a thread; a relative path of its file starts in the folder.

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
        """Stream an answer; closing the stream waits for the generation's end, a token or a batch of the prompt later.

        Raises:
            EngineError: the request asks for something that llama.cpp would ignore or get wrong, or it fails.
        """
        body = complete_request(request, self._defaults, "llama.cpp", PARAMETERS)
        if body.pop("n", 1) != 1:
            raise bad_request("n must be 1: llama.cpp does not tell the choices of a stream apart.")
        if body.get("tool_choice") not in (None, "auto", "none"):
            raise bad_request("tool_choice must be auto or none: llama.cpp cannot be relied on to force a call.")
        await self._slots.acquire()
        if self._server is None:
            self._slots.release()
            raise unloaded()
        generation = _Generation(self._server, orjson.dumps(body | _ALWAYS), self._end)
        self._running.add(generation)
        reader = ChunkReader("llama.cpp", _error)
        try:
            while (data := await generation.read()) is not None:
                chunk = reader.read(data)
                if "prompt_progress" not in chunk:
                    yield chunk
        finally:
            generation.cancel()
            await generation.ended.wait()
            generation.thread.join()  # the thread sets the event as its last act, so this does not block the loop
        if self._server is None and not reader.finished:
            raise unloaded()
        reader.end()

    def _end(self, generation: _Generation) -> None:
        self._running.discard(generation)
        self._slots.release()

    async def close(self) -> None:
        """End every stream, wait until all have ended, and free the model."""
        server, self._server = self._server, None
        await asyncio.to_thread(self._stop)
        del server


class _Generation:
    """An answer that llama.cpp generates on a thread and that the event loop reads; it starts at once.

    Neither side polls: the thread waits on a semaphore while the reader is too far behind, the loop on a queue. The
    thread is a daemon, so that it never delays the end of the process. The engine joins it before the interpreter ends.
    `on_end` is called in the loop after the thread's last act, whether it succeeded, failed or was cancelled.
    """

    def __init__(self, server: xllamacpp.Server, body: bytes, on_end: Callable[[_Generation], None]) -> None:
        self.ended = asyncio.Event()
        self.thread = threading.Thread(target=self._run, args=(server, body), name="llm-stream", daemon=True)
        self._on_end = on_end
        self._cancelled = False
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes | EngineError | None] = asyncio.Queue()
        self._room = threading.Semaphore(_CAPACITY)
        self.thread.start()

    async def read(self) -> bytes | None:
        """Return the next chunk, or None at the end; raises `EngineError` if llama.cpp refused the request."""
        chunk = await self._chunks.get()
        if isinstance(chunk, EngineError):
            raise chunk
        self._room.release()
        return chunk

    def cancel(self) -> None:
        """Stop the thread at its next chunk; callable from any thread, any number of times."""
        self._cancelled = True
        self._room.release()

    def _run(self, server: xllamacpp.Server, body: bytes) -> None:
        failure = None
        try:
            server.handle_chat_completions(body, self._emit)
        except (ValueError, RuntimeError) as error:  # it raises for malformed requests only
            failure = bad_request(f"llama.cpp refused the request: {error}.")
        finally:
            self._in_loop(self._finish, failure)

    def _emit(self, chunk: bytes) -> bool:
        """Hand a chunk to the loop; returns whether llama.cpp is to stop."""
        if not self._cancelled:
            self._room.acquire()
        return self._cancelled or not self._in_loop(self._chunks.put_nowait, chunk)

    def _finish(self, failure: EngineError | None) -> None:
        self._chunks.put_nowait(failure)
        self.ended.set()
        self._on_end(self)

    def _in_loop(self, call: Callable[..., None], *args: object) -> bool:
        """Schedule a call in the loop; returns False if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False
        return True


def _stop(running: set[_Generation]) -> None:
    generations = list(running)
    for generation in generations:
        generation.cancel()
    for generation in generations:
        generation.thread.join()


def _error(error: Any) -> EngineError:  # noqa: ANN401 - JSON
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        return bad_request(
            f"The prompt has {error['n_prompt_tokens']} tokens and the context holds {error['n_ctx']}: "
            "shorten the messages, or raise n_ctx.",
            code="context_length_exceeded",
        )
    return engine_error(error)


def server_params(path: Path, settings: LlamaCppSettings) -> xllamacpp.CommonParams:
    """Make llama.cpp's parameters for a model's file, for an engine or for a server of its own."""
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
