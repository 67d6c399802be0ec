"""MLServer models that serve as references: a naive relay, and a model that repeats one response."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from openai import AsyncOpenAI

from benchmarks.provider import MODEL, TOKEN_CHUNK

_TEXT = json.loads(TOKEN_CHUNK)["choices"][0]["delta"]["content"]


class NaiveRelay(MLModel):
    """A naive relay, which uses the typed chunks of the openai package and MLServer's codec."""

    async def load(self) -> bool:
        """Create a client for the provider at the base URL in the settings."""
        parameters = self.settings.parameters
        extra: dict[str, Any] = (parameters and parameters.extra) or {}
        self._client = AsyncOpenAI(base_url=extra["base_url"], api_key="not-needed", max_retries=0)
        return True

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        """Send the message of the request to the provider and yield a response for each of its chunks."""
        payload = await anext(payloads)
        texts = {one.name: StringCodec.decode_input(one)[0] for one in payload.inputs}
        stream = await self._client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": texts["content"]}],
            stream=True,
            stream_options={"include_usage": True},
            extra_body=llm_parameters(payload),
        )
        async for part in stream:
            text = (part.choices[0].delta.content if part.choices else None) or ""
            yield _response(self.name, self.version, text, part.model_dump_json())


class StockConversion(MLModel):
    """Yields one response for each requested token, without a provider, to measure only MLServer's own work."""

    async def load(self) -> bool:
        """Report the model as ready, because there is nothing to load."""
        return True

    async def predict_stream(self, payloads: AsyncIterator[InferenceRequest]) -> AsyncIterator[InferenceResponse]:
        """Build a new response for each token, as a relay has to, although all tokens are the same here."""
        payload = await anext(payloads)
        for _ in range(llm_parameters(payload)["max_tokens"]):
            yield token_response(self.name, self.version)


def token_response(model: str, version: str | None) -> InferenceResponse:
    """Return the response for one token of the provider."""
    return _response(model, version, _TEXT, TOKEN_CHUNK.decode())


def llm_parameters(payload: InferenceRequest) -> dict[str, Any]:
    """Return the sampling parameters of a request, which are a JSON string over gRPC."""
    parameters = getattr(payload.parameters, "llm_parameters", {})
    return dict(json.loads(parameters) if isinstance(parameters, str) else parameters)


def _response(model: str, version: str | None, text: str, raw: str) -> InferenceResponse:
    values = {"role": "assistant", "content": text, "type": "text", "output_all": raw}
    outputs = [StringCodec.encode_output(name, [value]) for name, value in values.items()]
    return InferenceResponse(model_name=model, model_version=version, outputs=outputs)
