"""One interface to three clients of a deployed model: this package's over HTTP and gRPC, and OpenAI's."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

import openai

from llm_streaming import ChatClient, GrpcChatClient
from llm_streaming.errors import InferenceError
from llm_streaming.mesh.base import Mesh

Chunk = dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """What a client reports of a failure."""

    message: str
    status: int | None
    code: str | None


class Door(Protocol):
    """A client of a mesh that returns OpenAI's chunks and completions."""

    def stream(self, model: str, messages: list[Chunk], **parameters: Any) -> Generator[Chunk]: ...

    def complete(self, model: str, messages: list[Chunk], **parameters: Any) -> Chunk: ...

    def failure(self, error: Exception) -> Failure: ...


class OurDoor:
    """A client of this package, without the keep-alive events, which are empty."""

    def __init__(self, client: ChatClient | GrpcChatClient) -> None:
        self.client = client

    def stream(self, model: str, messages: list[Chunk], **parameters: Any) -> Generator[Chunk]:
        with self.client.stream(model, messages, **parameters) as events:
            for event in events:
                if event.usage or any(one["delta"] or one["finish_reason"] for one in event.raw["choices"]):
                    yield event.raw

    def complete(self, model: str, messages: list[Chunk], **parameters: Any) -> Chunk:
        return self.client.complete(model, messages, **parameters).raw

    def failure(self, error: Exception) -> Failure:
        assert isinstance(error, InferenceError)
        return Failure(error.message, error.status, error.code)


class OpenAIDoor:
    """OpenAI's client, with the path of a model as its base URL."""

    def __init__(self, address: str, token: str | None = None) -> None:
        self.address = address
        self.token = token

    def _client(self, model: str, endpoint: str) -> openai.OpenAI:
        base_url = f"http://{self.address}/v2/models/{model}/{endpoint}"
        return openai.OpenAI(base_url=base_url, api_key=self.token or "none", max_retries=0)

    def stream(self, model: str, messages: list[Chunk], **parameters: Any) -> Generator[Chunk]:
        request = {"messages": messages, "stream": True, "stream_options": {"include_usage": True}, **parameters}
        with (
            self._client(model, "infer_stream") as client,
            client.chat.completions.create(model=model, **request) as chunks,
        ):
            for chunk in chunks:
                yield chunk.to_dict()

    def complete(self, model: str, messages: list[Chunk], **parameters: Any) -> Chunk:
        request: dict[str, Any] = {"messages": messages, **parameters}
        with self._client(model, "infer") as client:
            return client.chat.completions.create(model=model, **request).to_dict()

    def failure(self, error: Exception) -> Failure:
        if isinstance(error, openai.APIStatusError):
            body: Any = error.body  # text, where Envoy itself answers without OpenAI's error object
            message = body["message"] if isinstance(body, dict) else error.message
            return Failure(str(message), error.status_code, error.code or error.type)
        assert isinstance(error, openai.APIError)
        return Failure(error.message, None, error.code or error.type)


DOORS = ("http", "grpc", "openai")


def door(kind: str, mesh: Mesh) -> Door:
    """Return a client of the mesh, of the kind ``http``, ``grpc`` or ``openai``."""
    if kind == "openai":
        return OpenAIDoor(mesh.address, mesh.token)
    return OurDoor(ChatClient(mesh.address) if kind == "http" else GrpcChatClient(mesh.grpc_address))
