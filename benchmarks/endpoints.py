"""Endpoints that answer a chat request: OpenAI's API, and the Open Inference Protocol over HTTP and gRPC."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.provider import HOST, MODEL
from benchmarks.readers import Answer, At, Lag, read_grpc, read_http
from llm_streaming.client.base import request_body
from llm_streaming.client.grpc_messages import encode_message
from llm_streaming.client.http import path_of

Encode = Callable[[str, Mapping[str, Any]], bytes]
"""A function that encodes a request from the text of a message and sampling parameters."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint that answers a chat request.

    Args:
        at: where its server listens.
        read: sends a request there and reads the answer.
        encode: encodes a request.
        copies: how many times the text of each token occurs in an answer.
    """

    at: At
    read: Callable[[At, bytes, Lag | None], Awaitable[Answer]]
    encode: Encode
    copies: int

    def count_events(self, answer: Answer) -> int:
        """Return the number of events in an answer; over gRPC, each piece is one event."""
        return answer.body.count(b"data: {") if self.read is read_http else len(answer.pieces)


def openai_api(port: int, key: str = "not-needed") -> Endpoint:
    """Return the endpoint of a server with OpenAI's API, such as the provider."""
    return Endpoint(port, read_http, _openai("/v1/chat/completions", MODEL, key), copies=1)


def openai_path(at: At, model: str = MODEL) -> Endpoint:
    """Return the endpoint of OpenAI's API under the path of a deployed model."""
    return Endpoint(at, read_http, _openai(path_of(model, "infer_stream") + "/chat/completions", model), copies=1)


def over_http(at: At, model: str = MODEL) -> Endpoint:
    """Return a model's HTTP endpoint; its answers contain each token in ``content`` and again in ``output_all``."""

    def encode(text: str, parameters: Mapping[str, Any]) -> bytes:
        return _post(path_of(model, "infer_stream"), request_body(user_message(text), None, dict(parameters)))

    return Endpoint(at, read_http, encode, copies=2)


def over_grpc(at: At, model: str = MODEL, **fixed: Any) -> Endpoint:  # noqa: ANN401 - sampling parameters
    """Return a model's gRPC endpoint; the `fixed` parameters are added to those of each request."""

    def encode(text: str, parameters: Mapping[str, Any]) -> bytes:
        return encode_message(model, request_body(user_message(text), None, {**parameters, **fixed}))

    return Endpoint(at, read_grpc, encode, copies=2)


def user_message(text: str) -> list[dict[str, Any]]:
    """Return the messages of a chat with a single user message."""
    return [{"role": "user", "content": text}]


def _openai(path: str, model: str, key: str = "not-needed") -> Encode:
    def encode(text: str, parameters: Mapping[str, Any]) -> bytes:
        body = {"model": model, "messages": user_message(text), "stream": True, **parameters}
        return _post(path, body, f"authorization: Bearer {key}\r\n")

    return encode


def _post(path: str, body: Mapping[str, Any], headers: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return f"{head}{headers}content-length: {len(content)}\r\n\r\n".encode() + content
