"""Runs a model with vLLM: its asynchronous engine and its OpenAI chat layer, without its HTTP server.

vLLM computes in processes of its own. Tokenizing, the chat template, tool calls and making chunks happen in this one.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from pydantic import ValidationError

from llm_streaming.engines.base import ChunkReader, Engine, unloaded
from llm_streaming.engines.settings import complete_request
from llm_streaming.engines.vllm import versions
from llm_streaming.engines.vllm.errors import hide_refusals, invalid_request, load_error, request_error
from llm_streaming.engines.vllm.plugin import record_failure
from llm_streaming.engines.vllm.settings import UNSEEN, VLLMSettings
from llm_streaming.errors import EngineError

_ALWAYS = {"stream": True, "stream_options": {"include_usage": True}}
# The first request that samples takes seconds longer than others, so this one samples.
_WARM_UP = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 2, "temperature": 1.0}
_FEW_CORES = 4


class VLLMEngine(Engine):
    """A loaded model, in vLLM's AsyncLLM, and its chat layer, vLLM's OpenAIServingChat; make one with `load`."""

    def __init__(self, client: Any, settings: VLLMSettings, chat: Any) -> None:  # noqa: ANN401 - classes of vLLM
        self._client = client
        self._settings = settings
        self._chat = chat
        self._running: set[str] = set()
        self._closed = False

    @classmethod
    async def load(cls, model_settings: Mapping[str, Any], folder: Path) -> Self:
        """Load a model, in a thread, and have it answer once: see `VLLMSettings.from_mapping` for the arguments.

        Raises:
            EngineError: vLLM or the model is not there, a setting is wrong, or the hardware does not suffice.
        """
        client = None
        with record_failure() as failure:
            try:
                settings, client = await asyncio.to_thread(_start, model_settings, folder)
                engine = cls(client, settings, await _chat_layer(client, settings))
                hide_refusals()
                await engine.complete(_WARM_UP)
            except Exception as error:  # noqa: BLE001 - the server needs one sentence, whatever it is
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
        body = complete_request(request, self._settings.default_generate_kwargs, "vLLM", self._settings.parameters)
        if request.get("max_tokens") is not None:  # vLLM would prefer the newer name, even where it is only a default
            body["max_completion_tokens"] = request.get("max_completion_tokens")
        known = {name: value for name, value in body.items() if name not in UNSEEN}
        request_id = uuid4().hex
        reader = ChunkReader("vLLM", request_error)
        self._running.add(request_id)
        try:
            async with aclosing(await self._answer({**known, **_ALWAYS, "request_id": request_id})) as lines:
                async for line in lines:
                    self._check()
                    data = line.removeprefix("data: ").strip()
                    if data != "[DONE]":
                        yield reader.read(data)
        except EngineError:
            self._check()  # the error of an engine that has died does not say so
            raise
        finally:
            self._running.discard(request_id)
        reader.end()

    async def close(self) -> None:
        """End every stream and vLLM's processes; returns when they have ended."""
        if self._closed:
            return
        self._closed = True
        await self._client.abort([f"chatcmpl-{name}" for name in self._running])
        await asyncio.to_thread(self._client.shutdown)

    def _check(self) -> None:
        if self._closed:
            raise unloaded()
        if self._client.errored:
            message = "vLLM's engine process has ended, and its log says why: load the model again."
            raise EngineError(message, status=503, code="engine_dead")

    async def _answer(self, body: dict[str, Any]) -> AsyncGenerator[str, None]:
        """Start an answer and return the lines of its event stream; an `EngineError` says why vLLM refuses it."""
        self._check()
        try:
            answer = await self._chat.create_chat_completion(versions.chat_request().model_validate(body), None)
        except ValidationError as error:
            raise invalid_request(error) from None
        except Exception as error:  # noqa: BLE001 - vLLM's server turns any of them into an answer
            raise request_error(versions.as_error(error)) from None
        if hasattr(answer, "error"):
            raise request_error(answer.error.model_dump())
        lines: AsyncGenerator[str, None] = answer
        return lines


def _start(model_settings: Mapping[str, Any], folder: Path) -> tuple[VLLMSettings, Any]:
    """Read the settings and start vLLM's AsyncLLM, in a thread: importing vLLM takes 10 s, loading a minute or more."""
    # With CUDA vLLM forks by default, which is not safe in a server with threads.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # otherwise vLLM reports the machine and the model to its makers
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
    return settings, AsyncLLM.from_vllm_config(
        engine_arguments.create_engine_config(context),
        usage_context=context,
        enable_log_requests=engine_arguments.enable_log_requests,
        disable_log_stats=engine_arguments.disable_log_stats,
    )


def _prepare_cpu(settings: VLLMSettings) -> None:
    """Limit memory and cores unless the settings or the environment name them: vLLM would take most of the memory."""
    if settings.arguments.kv_cache_memory_bytes is None and "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        settings.arguments.kv_cache_memory_bytes = 1024**3
    # By default vLLM reserves one core for its scheduler. On 2 cores SmolLM2 gave about 155 tokens/s at 8 streams with
    # one core, and 178 with both.
    if (os.cpu_count() or 1) <= _FEW_CORES:
        os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")


async def _chat_layer(client: Any, settings: VLLMSettings) -> Any:  # noqa: ANN401 - classes of vLLM
    """Build the layer with which ``vllm serve`` answers chat requests."""
    from starlette.datastructures import State

    state = State()
    tasks = await client.get_supported_tasks()
    await versions.app_state().init_app_state(client, state, settings.arguments, supported_tasks=tasks)
    return state.openai_serving_chat
