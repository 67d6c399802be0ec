"""The requests that a process sends to the embedded mesh of another process, and their encoding.

A request is one ``POST`` of JSON over HTTP. The answer is lines of JSON: ``{"progress": text}`` for each progress
message as it is written, and at the end ``{"returned": value}``, or ``{"raised": class name, "message": text}``.
"""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from typing import Any

import msgspec

PATH = "/llm-streaming"
"""The HTTP path of requests."""

METRICS_PATH = f"{PATH}/metrics"
"""On a shared mesh, the path under which ``/<server>/metrics`` shows the metrics of a server."""


def user_id() -> str:
    """Identify the user of this process, without revealing anything about the machine.

    All commands of a terminal are one user, and so is each notebook's kernel: they share a session of the operating
    system.
    """
    session = f"{platform.node()}/{uuid.getnode()}/{os.getsid(0)}"
    return hashlib.sha256(session.encode()).hexdigest()[:16]


class Request(msgspec.Struct, kw_only=True, tag_field="method"):
    """The name and the arguments of a method of `Mesh`.

    Args:
        user: the user who sends the request, as `user_id` identifies them.
    """

    user: str = msgspec.field(default_factory=user_id)


class Address(Request, tag="address"):
    """``address``; also sent to find out whether the mesh is there."""


class MetricsAddress(Request, tag="metrics_address"):
    """``metrics_address(server)``."""

    server: str


class Apply(Request, tag="apply"):
    """``apply(manifest)`` with one manifest, which the receiver checks."""

    manifest: dict[str, Any]


class Wait(Request, tag="wait"):
    """``wait(*names, timeout=timeout)``."""

    names: list[str]
    timeout: float


class Delete(Request, tag="delete"):
    """``delete(manifest)`` with one manifest, which the receiver checks."""

    manifest: dict[str, Any]


class Resources(Request, tag="resources"):
    """``resources(kind)``."""

    kind: str


class Logs(Request, tag="logs"):
    """``logs(model)``."""

    model: str


class Reset(Request, tag="reset"):
    """Remove all models of all users."""


AnyRequest = Address | MetricsAddress | Apply | Wait | Delete | Resources | Logs | Reset
