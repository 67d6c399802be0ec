"""Token-by-token streaming from LLMs on Seldon Core 2, from laptop to cluster."""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_streaming.client.grpc import AsyncGrpcChatClient, GrpcChatClient
    from llm_streaming.client.http import AsyncChatClient, ChatClient
    from llm_streaming.connection import connect, get_mesh_ip

__all__ = ["AsyncChatClient", "AsyncGrpcChatClient", "ChatClient", "GrpcChatClient", "connect", "get_mesh_ip"]

# MLServer uses a name that Starlette has replaced. The warning would stand in notebooks and in every server's log.
warnings.filterwarnings("ignore", message="'HTTP_422_UNPROCESSABLE_ENTITY' is deprecated")

# Imported on first use, so that importing the package stays fast.
_MODULES = {
    "AsyncChatClient": "llm_streaming.client.http",
    "AsyncGrpcChatClient": "llm_streaming.client.grpc",
    "ChatClient": "llm_streaming.client.http",
    "GrpcChatClient": "llm_streaming.client.grpc",
    "connect": "llm_streaming.connection",
    "get_mesh_ip": "llm_streaming.connection",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
