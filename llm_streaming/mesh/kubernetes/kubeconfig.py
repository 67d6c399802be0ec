"""Checks kubeconfig files before the official client reads them, whose errors can quote a password or a token."""

from __future__ import annotations

import os
from base64 import b64decode
from pathlib import Path
from typing import Any

import msgspec

from llm_streaming.manifests.yaml_file import read_yaml


class _Base64(str):
    """Text in base64, in which line breaks are allowed."""


class _Context(msgspec.Struct):
    cluster: str
    user: str | None = None
    namespace: str | None = None


class _Cluster(msgspec.Struct, rename="kebab"):
    server: str
    certificate_authority: str | None = None
    certificate_authority_data: _Base64 | None = None
    proxy_url: str | None = None
    tls_server_name: str | None = None


class _User(msgspec.Struct, rename="kebab"):
    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    username: str | None = None
    password: str | None = None
    client_certificate: str | None = None
    client_certificate_data: _Base64 | None = None
    client_key: str | None = None
    client_key_data: _Base64 | None = None
    exec: dict[str, Any] | None = None
    auth_provider: dict[str, Any] | None = None


class _Entry(msgspec.Struct):
    name: str
    context: _Context | None = None
    cluster: _Cluster | None = None
    user: _User | None = None


class _Kubeconfig(msgspec.Struct, rename="kebab"):
    contexts: list[_Entry] | None = None
    clusters: list[_Entry] | None = None
    users: list[_Entry] | None = None
    current_context: str | None = None


def check_kubeconfig(path: str) -> None:
    """Check the syntax, the fields' types and the base64 of kubeconfig files.

    Args:
        path: the paths of the files, separated as in ``KUBECONFIG``.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not a kubeconfig. The message names the line or the field, and quotes no value.
    """
    for file in path.split(os.pathsep):
        documents = read_yaml(Path(file), unique_keys=False)
        if not documents:
            raise ValueError("it is empty")
        try:
            msgspec.convert(documents[0], _Kubeconfig, dec_hook=_base64)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None


def _base64(_: type, value: object) -> _Base64:
    try:
        b64decode("".join(str(value).split()), validate=True)
    except ValueError:
        raise ValueError("this is not base64") from None
    return _Base64(value)
