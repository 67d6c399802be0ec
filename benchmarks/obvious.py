"""The references that are MLServer models: a relay written the obvious way, and one that only repeats a response."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from openai import AsyncOpenAI

from benchmarks.provider import TOKEN_CHUNK

_TEXT = json.loads(TOKEN_CHUNK)["choices"][0]["delta"]["content"]


class Obvious(MLModel):
    """Relays by the openai package's typed chunks and MLServer's own codec, as one would at first."""

    async def load(self) -> bool:
        """Make a client of the provider in the settings."""
        parameters = self.settings.parameters
        extra: dict[str, Any] = (parameters and parameters.extra) or {}
        self._client = AsyncOpenAI(base_url=extra["base_url"], api_key="not-needed", max_retries=0)
        return True

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        """Answer a request of one message."""
        payload = await anext(payloads)
        texts = {one.name: StringCodec.decode_input(one)[0] for one in payload.inputs}
        stream = await self._client.chat.completions.create(
            model="benchmark",
            messages=[{"role": "user", "content": texts["content"]}],
            stream=True,
            stream_options={"include_usage": True},
            extra_body=asked_of(payload),
        )
        async for part in stream:
            text = (part.choices[0].delta.content if part.choices else None) or ""
            yield _response(self.name, self.version, text, part.model_dump_json())


class Stock(MLModel):
    """Answers with a response for each token that is asked for, and reads no provider: MLServer's own work alone."""

    async def load(self) -> bool:
        """Nothing is needed."""
        return True

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        """Build the response of the same token again and again: a relay's tokens differ, and so do its responses."""
        payload = await anext(payloads)
        for _ in range(asked_of(payload)["max_tokens"]):
            yield _response(self.name, self.version, _TEXT, TOKEN_CHUNK.decode())


def prepared_response(model: str, version: str | None) -> InferenceResponse:
    """The response that one of the provider's tokens becomes."""
    return _response(model, version, _TEXT, TOKEN_CHUNK.decode())


def asked_of(payload: InferenceRequest) -> dict[str, Any]:
    """The sampling parameters of a request, which over gRPC are a string."""
    parameters = getattr(payload.parameters, "llm_parameters", {})
    return dict(json.loads(parameters) if isinstance(parameters, str) else parameters)


def _response(model: str, version: str | None, text: str, raw: str) -> InferenceResponse:
    values = {"role": "assistant", "content": text, "type": "text", "output_all": raw}
    outputs = [StringCodec.encode_output(name, [value]) for name, value in values.items()]
    return InferenceResponse(model_name=model, model_version=version, outputs=outputs)
