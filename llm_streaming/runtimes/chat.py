"""The base class of both runtimes: an MLServer model that passes requests to an engine and returns its answers."""

from __future__ import annotations

import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any, ClassVar
from uuid import uuid4

import orjson
from mlserver import MLModel
from mlserver.settings import ModelSettings
from mlserver.types import Datatype, InferenceRequest, InferenceResponse, MetadataTensor, Parameters

from llm_streaming.engines.base import Engine, unloaded
from llm_streaming.engines.waits import Waits
from llm_streaming.errors import EngineError
from llm_streaming.masking import masked
from llm_streaming.protocol import ChatRequest, Tensor, decode_request, encode_chunk, encode_completion, encode_error
from llm_streaming.protocol.chunks import keep_alive_chunk
from llm_streaming.protocol.json import unexpected
from llm_streaming.protocol.request import ParametersName
from llm_streaming.protocol.response import select
from llm_streaming.protocol.tensors import INPUT_NAMES, OUTPUT_NAMES
from llm_streaming.runtimes.log_records import protect_logs
from llm_streaming.runtimes.logs import ChatError, log_failure, silence_mlserver
from llm_streaming.runtimes.metrics import RequestMetrics, count_malformed
from llm_streaming.runtimes.openai_endpoint import openai_handlers
from llm_streaming.runtimes.responses import StreamedResponse, whole_response
from llm_streaming.runtimes.stream import stream_answer

_ID = r"[ -~]{,200}"


class ChatRuntime(MLModel, ABC):
    """An MLServer model that answers chat requests with an engine, whole or as a stream (contract §1 to §3)."""

    parameters_name: ClassVar[ParametersName]
    """The request parameter in which this runtime looks first for sampling parameters."""

    keep_alive: float
    """Seconds without a new chunk after which a stream sends an empty event."""

    _engine: Engine | None = None

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__(settings)
        self._waits = Waits()
        protect_logs()
        # MLServer looks for handlers among a model's attributes, before it loads the model.
        self.openai_infer, self.openai_infer_stream = openai_handlers(self.name, self.complete, self.stream)

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and its engine is still running."""
        return self._ready and (self._engine is None or self._engine.alive)

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._ready = ready

    @abstractmethod
    async def open_engine(self, extra: dict[str, Any] | None) -> Engine:
        """Start the engine that ``parameters.extra`` describes, and set `keep_alive`.

        Raises:
            EngineError: the settings are wrong, or the engine does not start.
        """

    async def load(self) -> bool:
        """Start the engine; once this returns, MLServer marks the model as ready.

        Raises:
            ChatError: the settings are wrong, or the engine does not start.
        """
        self.inputs = [MetadataTensor(name=name, datatype=Datatype.BYTES, shape=[-1]) for name in INPUT_NAMES]
        self.outputs = [MetadataTensor(name=name, datatype=Datatype.BYTES, shape=[1, 1]) for name in OUTPUT_NAMES]
        parameters = self.settings.parameters
        try:
            self._engine = await self.open_engine(parameters.extra if parameters else None)
        except EngineError as error:
            raise ChatError(error.rewrite(masked)) from None
        silence_mlserver()
        return True

    async def unload(self) -> bool:
        """End all running calls with an error, and shut down the engine, even if loading it failed part-way."""
        self._waits.end(unloaded())
        if self._engine is not None:
            await self._engine.close()
            self._engine = None
        return True

    def end_streams(self, reason: str) -> None:
        """End all running calls, streams and whole answers, with an error 503. Later calls get the same error.

        Args:
            reason: one sentence for the clients, such as "The server is stopping: try again in a minute."
        """
        self._waits.end(EngineError(reason, status=503))

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request with one whole response.

        Raises:
            ChatError: the request was rejected or the engine failed.
        """
        try:
            request = self._decode(payload)
            told = self._warnings(request)
            outputs = encode_completion(await self.complete(request))
        except Exception as error:  # noqa: BLE001 - every failure is reported to the client
            raise ChatError(log_failure(error)) from None
        return whole_response(self.name, self.version, select(outputs, request.outputs), told)

    async def predict_stream(  # type: ignore[override] # MLServer accepts these responses, too
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[StreamedResponse]:
        """Answer a request with a stream of events, while the engine generates the answer.

        Raises:
            ChatError: the request was rejected or the engine failed. The last event before this exception contains the
                error too, so that every client sees the failure (contract §3).
        """
        payload = await anext(payloads)
        respond = partial(StreamedResponse, self.name, self.version, Parameters(headers={}))
        joined = _came_as_json(payload)
        try:
            request = self._decode(payload)
            warnings = self._warnings(request)
            empty = keep_alive_chunk(f"chatcmpl-{payload.id or uuid4()}", self.name, int(time.time()))
            async with aclosing(self.stream(request, first=empty)) as batches:
                async for chunks in batches:
                    events = [select(event, request.outputs) for chunk in chunks for event in encode_chunk(chunk)]
                    for together in [events] if joined else [[event] for event in events]:
                        yield respond(together, warnings)
                        warnings = {}
        except Exception as error:  # noqa: BLE001 - every failure is reported to the client
            failure = log_failure(error)
            raised = ChatError(failure)
            event = encode_error(failure.as_openai())
            # The parameters repeat the error, as a string because gRPC drops dicts. They also contain the status and
            # the seconds to wait, because the stream's status line and headers have been sent already.
            told: dict[str, str | int] = {"error": dict(event)["output_all"].decode(), "status": raised.status_code}
            if failure.retry_after is not None:
                told["retry_after"] = math.ceil(failure.retry_after)
            yield respond([event], told)
            raise raised from None

    async def complete(self, request: ChatRequest) -> dict[str, Any]:
        """Return the engine's whole answer, a ``chat.completion``.

        Raises:
            EngineError: the model is not loaded, or the engine rejects the request or fails.
        """
        engine = self.opened()
        with RequestMetrics(self.name) as metrics:
            with self._waits:
                completion = await engine.complete(request.as_openai())
            metrics.observe(completion)
        return completion

    def stream(
        self, request: ChatRequest, first: dict[str, Any] | None = None
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Stream the engine's answer; for the yielded lists see `llm_streaming.runtimes.stream.stream_answer`.

        Raises:
            EngineError: the model is not loaded.
        """
        chunks = self.opened().stream(request.as_openai())
        return stream_answer(chunks, self._waits, model=self.name, keep_alive=self.keep_alive, first=first)

    def opened(self) -> Engine:
        """Return the engine.

        Raises:
            EngineError: the model is not loaded.
        """
        # This is not a property, because MLServer reads every property of a model before it loads the model.
        if self._engine is None:
            raise EngineError(f"model '{self.name}' is not loaded", status=503)
        return self._engine

    def _warnings(self, request: ChatRequest) -> dict[str, str]:
        """Return the warnings about a request as parameters, in a string because gRPC drops lists (contract §2)."""
        warnings = self.opened().warnings(request.as_openai())
        return {"warnings": orjson.dumps(warnings).decode()} if warnings else {}

    def _decode(self, payload: InferenceRequest) -> ChatRequest:
        parameters = dict(payload.parameters) if payload.parameters else None
        outputs = [output.name for output in payload.outputs] if payload.outputs else None
        with count_malformed(self.name):
            # MLServer sends the id in a header, and each event repeats it.
            if payload.id and not re.fullmatch(_ID, payload.id):
                raise unexpected("id", "at most 200 printable ASCII characters", payload.id)
            inputs = [Tensor.from_parts(one.name, one.datatype, one.shape, one.data.root) for one in payload.inputs]
            return decode_request(inputs, parameters, outputs, prefer=self.parameters_name)


def _came_as_json(payload: InferenceRequest) -> bool:
    """Return whether a request was sent over REST: its tensors contain strings, over gRPC bytes (contract §1)."""
    columns = [one.data.root for one in payload.inputs]
    return not any(isinstance(column, list) and any(isinstance(each, bytes) for each in column) for column in columns)
