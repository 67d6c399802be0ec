"""Runs a model with vLLM: its asynchronous engine and its OpenAI chat layer, without its HTTP server.

vLLM computes in separate processes. Tokenization, the chat template, tool calls and chunks are handled in this process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from pydantic import ValidationError

from llm_streaming.engines.base import ChunkReader, Engine, bad_request, unloaded
from llm_streaming.engines.settings import CONSTRAINTS, check_defaults, complete_request, schema_warnings
from llm_streaming.engines.vllm import versions
from llm_streaming.engines.vllm.errors import hide_refusals, invalid_request, load_error, request_error
from llm_streaming.engines.vllm.plugin import record_failure
from llm_streaming.engines.vllm.settings import VLLMSettings
from llm_streaming.errors import EngineError

_ALWAYS = {"stream": True, "stream_options": {"include_usage": True}}
# The first request with sampling takes seconds longer than later ones, so the warm-up request uses sampling.
_WARM_UP = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 2, "temperature": 1.0}
_FEW_CORES = 4


class VLLMEngine(Engine):
    """A model in vLLM's AsyncLLM, with vLLM's chat layer, OpenAIServingChat; create one with `load`."""

    def __init__(self, client: Any, settings: VLLMSettings, chat: Any) -> None:  # noqa: ANN401 - classes of vLLM
        self._client = client
        self._settings = settings
        self._context = client.model_config.max_model_len
        self._readers = settings.readers(self._context, set())
        self._chat = chat
        self._running: set[str] = set()
        self._closed = False

    @classmethod
    async def load(cls, model_settings: Mapping[str, Any], folder: Path) -> Self:
        """Load a model in a thread and run one warm-up request. `VLLMSettings.from_mapping` describes the arguments.

        Raises:
            EngineError: vLLM or the model is missing, a setting is invalid, or the hardware is insufficient.
        """
        client = None
        with record_failure() as failure:
            try:
                settings, client = await asyncio.to_thread(_start, model_settings, folder)
                engine = cls(client, settings, await _chat_layer(client, settings))
                hide_refusals()
                await engine.complete(_WARM_UP)
            except Exception as error:  # noqa: BLE001 - vLLM raises many types
                if client is not None:
                    await asyncio.to_thread(client.shutdown)
                raise load_error(error, failure.read_text(), str(model_settings.get("model"))) from None
        return engine

    @property
    def alive(self) -> bool:
        """Whether vLLM's processes are running."""
        return not self._closed and not self._client.errored

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Stream an answer: see `Engine.stream`."""
        body = complete_request(request, self._settings.default_generate_kwargs, "vLLM", self._readers)
        if request.get("max_tokens") is not None:  # vLLM prefers max_completion_tokens, even if that is only a default
            body["max_completion_tokens"] = request.get("max_completion_tokens")
        request_id = uuid4().hex
        reader = ChunkReader("vLLM", request_error)
        self._running.add(request_id)
        begun = False
        try:
            async with aclosing(await self._answer({**body, **_ALWAYS, "request_id": request_id})) as lines:
                async for line in lines:
                    self._check()
                    data = line.removeprefix("data: ").strip()
                    if data != "[DONE]":
                        begun = True
                        yield reader.read(data)
        except EngineError:
            self._check()  # if the engine has died, raise an error that says so
            raise
        finally:
            self._running.discard(request_id)
        if not begun and CONSTRAINTS & body.keys():
            # vLLM's compiler, in another process, has failed: vLLM logs why, and ends the stream without a word.
            raise bad_request("vLLM cannot compile the answer's format: simplify the schema, or the tools' schemas.")
        reader.end()

    def warnings(self, request: dict[str, Any]) -> list[str]:
        """Return a sentence about the keywords of schemas that vLLM does not follow."""
        return schema_warnings(request, partial(self._settings.readers, self._context))

    async def close(self) -> None:
        """Stop every stream and vLLM's processes, and wait until the processes have exited."""
        if self._closed:
            return
        self._closed = True
        await self._client.abort([f"chatcmpl-{name}" for name in self._running])
        await asyncio.to_thread(self._client.shutdown)

    def _check(self) -> None:
        if self._closed:
            raise unloaded()
        if self._client.errored:
            message = "vLLM's engine process has ended: read the server's log, and load the model again."
            raise EngineError(message, status=503, code="engine_dead")

    async def _answer(self, body: dict[str, Any]) -> AsyncGenerator[str, None]:
        """Start an answer and return the lines of its event stream; raise `EngineError` if vLLM refuses the request."""
        self._check()
        try:
            answer = await self._chat.create_chat_completion(versions.chat_request().model_validate(body), None)
        except ValidationError as error:
            raise invalid_request(error) from None
        except Exception as error:  # noqa: BLE001 - vLLM's server, too, reports any exception
            raise request_error(versions.as_error(error)) from None
        if hasattr(answer, "error"):
            raise request_error(answer.error.model_dump())
        lines: AsyncGenerator[str, None] = answer
        return lines


def _start(model_settings: Mapping[str, Any], folder: Path) -> tuple[VLLMSettings, Any]:
    """Read the settings and start AsyncLLM, in a thread: importing vLLM takes 10 s, loading a minute or more."""
    # With CUDA, vLLM forks by default, which is not safe in a process with threads.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # no usage reports to vLLM's developers
    versions.check_version()
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    settings = VLLMSettings.from_mapping(model_settings, folder)
    if current_platform.is_cpu():
        _prepare_cpu(settings)
    versions.cli_args().validate_parsed_serve_args(settings.arguments)
    engine_arguments = AsyncEngineArgs.from_cli_args(settings.arguments)
    context = UsageContext.OPENAI_API_SERVER
    config = engine_arguments.create_engine_config(context)
    check_defaults(settings.default_generate_kwargs, settings.readers(config.model_config.max_model_len, set()))
    return settings, AsyncLLM.from_vllm_config(
        config,
        usage_context=context,
        enable_log_requests=engine_arguments.enable_log_requests,
        disable_log_stats=engine_arguments.disable_log_stats,
    )


def _prepare_cpu(settings: VLLMSettings) -> None:
    """Set what differs on a CPU: memory, cores, and prompts that are computed in one step.

    On a CPU, vLLM's engine ends when a prompt whose answer has a seed is computed in several steps (chunked prefill).

    Raises:
        EngineError: the settings ask for chunked prefill.
    """
    if settings.arguments.enable_chunked_prefill:
        raise bad_request(
            "The setting enable_chunked_prefill must be false on a CPU, where it ends vLLM's engine: leave it out.",
            "invalid_setting",
        )
    settings.arguments.enable_chunked_prefill = False
    if settings.arguments.kv_cache_memory_bytes is None and "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        settings.arguments.kv_cache_memory_bytes = 1024**3
    # By default, vLLM leaves one core to its scheduler. On 2 cores, SmolLM2 with 8 streams generated about 155 tokens/s
    # with one core and 178 with both.
    if (os.cpu_count() or 1) <= _FEW_CORES:
        os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")


async def _chat_layer(client: Any, settings: VLLMSettings) -> Any:  # noqa: ANN401 - classes of vLLM
    """Build the object with which ``vllm serve`` answers chat requests."""
    from starlette.datastructures import State

    state = State()
    tasks = await client.get_supported_tasks()
    await versions.app_state().init_app_state(client, state, settings.arguments, supported_tasks=tasks)
    return state.openai_serving_chat
