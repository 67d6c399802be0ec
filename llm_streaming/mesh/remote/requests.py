"""What a process may ask of an embedded mesh that another one keeps, and how it crosses the control socket.

A call is one ``POST`` of JSON over HTTP. Its answer is lines of JSON: ``{"told": line}`` for each that the mesh tells,
as it tells it, and at the end ``{"returned": value}`` or ``{"raised": name of the exception, "message"}``.
"""

from __future__ import annotations

import hashlib
import os
import platform
import uuid
from typing import Any

import msgspec

PATH = "/llm-streaming"
"""Where calls are posted to."""

METRICS_PATH = f"{PATH}/metrics"
"""On a shared mesh: beneath it each server, by its name, shows its ``/metrics``."""


class Call(msgspec.Struct, kw_only=True, tag_field="call"):
    """A call, with the arguments of the method of `Mesh` that has its name.

    Args:
        holder: who makes it.
    """

    holder: str


class Address(Call, tag="address"):
    """Whether a mesh is there."""


class MetricsAddress(Call, tag="metrics_address"):
    """``metrics_address(server)``."""

    server: str


class Apply(Call, tag="apply"):
    """``apply(manifest)``, of one manifest."""

    manifest: dict[str, Any]


class Wait(Call, tag="wait"):
    """``wait(*names, timeout=timeout)``."""

    names: list[str]
    timeout: float


class Delete(Call, tag="delete"):
    """``delete(manifest)``, of one manifest."""

    manifest: dict[str, Any]


class Resources(Call, tag="resources"):
    """``resources(kind)``."""

    kind: str


class Logs(Call, tag="logs"):
    """``logs(model)``."""

    model: str


class Reset(Call, tag="reset"):
    """Remove every model, whoever holds it."""


AnyCall = Address | MetricsAddress | Apply | Wait | Delete | Resources | Logs | Reset


def holder() -> str:
    """Name whoever makes a call from this process.

    All commands of one terminal are one holder, and so is each notebook's kernel: what they have in common is the
    session that the system gives them. Nothing of the machine can be read off the name.
    """
    session = f"{platform.node()}/{uuid.getnode()}/{os.getsid(0)}"
    return hashlib.sha256(session.encode()).hexdigest()[:16]
