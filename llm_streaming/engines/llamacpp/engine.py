"""Runs a model in this process with llama.cpp, without a server, a GPU or a key."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self

import orjson
import xllamacpp

from llm_streaming.engines.base import ChunkReader, Engine, bad_request, engine_error, unloaded
from llm_streaming.engines.llamacpp.model_file import resolve_model
from llm_streaming.engines.llamacpp.settings import LlamaCppSettings
from llm_streaming.engines.llamacpp.watchdog import Watchdog
from llm_streaming.engines.settings import complete_request
from llm_streaming.errors import EngineError

# `return_progress` adds chunks while the prompt is processed: llama.cpp can be cancelled only when it emits a chunk.
_ALWAYS = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
_CAPACITY = 64  # the most chunks that a generation may be ahead of its reader
_STOP_SECONDS = 5.0  # the longest wait for running generations; a stalled one never ends


class LlamaCppEngine(Engine):
    """A loaded model; create one with `load`.

    Each answer has its own thread, and llama.cpp computes the tokens of all answers in common batches. At most
    ``n_parallel`` requests run at a time. Others wait here, because llama.cpp cannot cancel a waiting request.

    llama.cpp reads one prompt at a time, in the order of the requests. It would fill each batch with the prompts of its
    first slots, so that a user who sends one long prompt after another could keep the other slots waiting for ever.
    """

    def __init__(self, server: xllamacpp.Server, settings: LlamaCppSettings) -> None:
        self._server: xllamacpp.Server | None = server
        self._defaults = {"seed": settings.seed, **settings.default_generate_kwargs}
        self._parameters = settings.parameters
        self._slots = asyncio.Semaphore(settings.n_parallel)
        self._reading_prompt = asyncio.Lock()
        self._watchdog = Watchdog(settings.stall_timeout)
        self._running: set[_Generation] = set()
        # Also runs when the interpreter exits, because a thread that returns from C++ later would abort the process.
        self._stop = weakref.finalize(self, _stop, self._running)

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
        body = complete_request(request, self._defaults, "llama.cpp", self._parameters)
        async with AsyncExitStack() as prompt:
            await prompt.enter_async_context(self._reading_prompt)
            await self._slots.acquire()
            if self._server is None:
                self._slots.release()
                raise unloaded()
            generation = _Generation(self._server, body, self._watchdog, self._end)
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

    def _end(self, generation: _Generation) -> None:
        self._running.discard(generation)
        self._slots.release()

    async def close(self) -> None:
        """Stop every stream, wait until all have stopped, and free the model. Do not wait for a stalled thread."""
        server, self._server = self._server, None
        await asyncio.to_thread(self._stop)
        for generation in list(self._running):
            generation.fail(unloaded())
        del server


class _Generation:
    """An answer that llama.cpp generates on a thread, for a reader in the event loop; the thread starts at once.

    Neither side polls: the thread waits on a semaphore while the reader is too far behind, and the reader on a queue.
    The thread is a daemon, so that it never delays the process's exit; the engine joins it when the interpreter exits.
    `on_end` is called in the loop when the thread ends, whether the generation succeeded, failed or was cancelled.
    """

    def __init__(
        self,
        server: xllamacpp.Server,
        body: dict[str, Any],
        watchdog: Watchdog,
        on_end: Callable[[_Generation], None],
    ) -> None:
        self.ended = asyncio.Event()
        self.thread = threading.Thread(target=self._run, args=(server, body), name="llm-stream", daemon=True)
        self._on_end = on_end
        self._watchdog = watchdog
        self._cancelled = False
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[bytes | EngineError | None] = asyncio.Queue()
        self._room = threading.Semaphore(_CAPACITY)
        self.thread.start()

    async def read(self) -> bytes | None:
        """Return the next chunk, or None after the last; raise `EngineError` if llama.cpp refuses the request."""
        chunk = await self._chunks.get()
        if isinstance(chunk, EngineError):
            raise chunk
        self._room.release()
        return chunk

    def cancel(self) -> None:
        """Stop the thread at its next chunk. Any thread may call this, any number of times."""
        self._cancelled = True
        self._room.release()

    async def wait(self) -> None:
        """Wait until the thread has ended, but not for ever: the thread of a stalled generation stays in llama.cpp."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), _STOP_SECONDS)
            self.thread.join()  # setting the event was the thread's last act, so this does not block the loop

    def fail(self, failure: EngineError) -> None:
        """Let the reader fail once it has read the chunks that have arrived, whatever the thread does."""
        self._chunks.put_nowait(failure)

    def _run(self, server: xllamacpp.Server, body: dict[str, Any]) -> None:
        failure = None
        try:
            with self._watchdog.working(body):
                server.handle_chat_completions(orjson.dumps(body | _ALWAYS), self._emit)
        except (ValueError, RuntimeError) as error:  # llama.cpp raises these for malformed requests only
            failure = bad_request(f"llama.cpp refused the request: {str(error).removesuffix('.')}.")
        finally:
            self._in_loop(self._finish, failure)

    def _emit(self, chunk: bytes) -> bool:
        """Pass a chunk to the loop, and return whether llama.cpp must stop."""
        with self._watchdog.called_back():
            if not self._cancelled:
                self._room.acquire()
        return self._cancelled or not self._in_loop(self._chunks.put_nowait, chunk)

    def _finish(self, failure: EngineError | None) -> None:
        self._chunks.put_nowait(failure)
        self.ended.set()
        self._on_end(self)

    def _in_loop(self, call: Callable[..., None], *args: object) -> bool:
        """Schedule a call in the loop, and return whether that was possible: False if the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False
        return True


def _stop(running: set[_Generation]) -> None:
    generations, deadline = list(running), time.monotonic() + _STOP_SECONDS
    for generation in generations:
        generation.cancel()
    for generation in generations:
        generation.thread.join(max(0.0, deadline - time.monotonic()))


def _error(error: Any) -> EngineError:  # noqa: ANN401 - JSON
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        return bad_request(
            f"The prompt has {error['n_prompt_tokens']} tokens and the context holds {error['n_ctx']}: "
            "shorten the messages, or raise n_ctx.",
            code="context_length_exceeded",
        )
    return engine_error(error)


def load_server(params: xllamacpp.CommonParams) -> xllamacpp.Server:
    """Load a model and start llama.cpp's server, which takes a moment.

    Raises:
        EngineError: llama.cpp cannot read the model's file.
    """
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        message = f"llama.cpp cannot load {params.model.path}: the model must be a complete .gguf file."
        raise EngineError(message) from None
    # An answer shows that the server's thread runs. A server that is freed before its thread runs never ends.
    server.handle_completions(b'{"prompt": [1], "max_tokens": 1}', lambda _: False)
    return server


def server_params(path: Path, settings: LlamaCppSettings) -> xllamacpp.CommonParams:
    """Build llama.cpp's parameters for a model file, for use in an engine or in a llama.cpp server."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {Path(settings.model).name.removesuffix(".gguf")}  # by default, chunks contain the whole path
    # Each slot has its own context. If all slots shared one context, all streams would fail when it is full, and
    # answers would depend on the other streams even with the same seed.
    params.n_ctx = settings.n_ctx * settings.n_parallel
    params.n_parallel = settings.n_parallel
    params.n_batch = params.n_ubatch = settings.n_batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.n_threads
    params.cache_ram_mib = 0  # by default, llama.cpp caches past prompts in up to 8 GB of memory
    params.fit_params = False  # fitting parameters to the free memory would take seconds
    params.verbosity = -1
    # llama.cpp always listens on a loopback port. A random key makes that port unusable for others.
    params.api_keys = [secrets.token_hex()]
    params.cors_origins = ""
    params.ui = params.endpoint_slots = False
    return params
