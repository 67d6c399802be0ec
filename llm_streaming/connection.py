"""Opens meshes with `connect`, and returns the address of the mesh that was opened last with `get_mesh_ip`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llm_streaming.errors import MeshError
from llm_streaming.mesh.base import Mesh, check_installed
from llm_streaming.mesh.progress import report

if TYPE_CHECKING:
    from llm_streaming.mesh.remote.mesh import RemoteMesh

MESH_VARIABLE = "LLM_STREAMING_MESH"
"""The environment variable that points to another process's mesh. It contains a socket's path or an invitation."""

open_meshes: list[tuple[dict[str, Any], Mesh]] = []
"""The meshes that `connect` and `get_mesh_ip` have opened, oldest first, each with the arguments it was opened with."""


def connect(target: str = "embedded", **options: Any) -> Mesh:  # noqa: ANN401 - each target has its own
    """Open a mesh, or return the one that is already open with the same arguments, such as when a cell runs again.

    If ``LLM_STREAMING_MESH`` points to a mesh of ``llm-streaming up``, on this machine or shared by another one,
    ``connect("embedded")`` without options uses that mesh. Closing it here leaves it open for others.

    Args:
        target: ``"embedded"`` for Envoy and MLServer on this machine, ``"kubernetes"`` for Seldon Core 2 on a cluster.
        options: the arguments of `EmbeddedMesh` or `KubernetesMesh`.

    Raises:
        MeshError: there is no such target or option, or the mesh does not start.
        ManifestError: a Server's manifest cannot be read.
    """
    arguments = {"target": target, **options}
    _forget_closed()
    mesh = next((mesh for known, mesh in open_meshes if known == arguments), None)
    state = "already open" if mesh else "open"
    mesh = mesh or _open_and_remember(arguments)
    report(f"The {target} mesh is {state} {'in' if target == 'kubernetes' else 'at'} {mesh}.")
    return mesh


def get_mesh_ip() -> str:
    """Return a mesh's ``host:port``, for example for ``f"http://{get_mesh_ip()}/v2/models/…"``.

    The address is that of the open mesh that was opened last. If no mesh is open, the function opens the mesh that
    ``LLM_STREAMING_MESH`` points to or, if the variable is not set, the mesh on kubectl's current cluster.

    Raises:
        MeshError: no mesh is open and kubectl is not configured, or the cluster's mesh has no address.
    """
    _forget_closed()
    if not open_meshes:
        _open_and_remember({"target": _default_target()})
    return open_meshes[-1][1].address


def open_mesh(target: str, **options: Any) -> Mesh:  # noqa: ANN401 - each target has its own
    """Open a mesh as `connect` does, but without remembering it or printing a message. The caller must close it."""
    if target == "embedded" and not options and (mesh := mesh_of_environment()):
        return mesh
    kind = _mesh_class(target)
    known = inspect.signature(kind).parameters
    if unknown := options.keys() - known.keys():
        raise MeshError(f"the {target} mesh has no option {', '.join(sorted(unknown))}, only {', '.join(known)}")
    return kind(**options)


def mesh_of_environment() -> RemoteMesh | None:
    """Open the mesh that ``LLM_STREAMING_MESH`` points to, if it is set; raises `MeshError` if it cannot be reached."""
    value = os.environ.get(MESH_VARIABLE)
    if not value:
        return None
    if "://" in value:
        from llm_streaming.sharing.tunnel import SharedMesh

        return SharedMesh(value)
    from llm_streaming.mesh.remote.mesh import RemoteMesh

    return RemoteMesh.at(value)


def _open_and_remember(arguments: dict[str, Any]) -> Mesh:
    mesh = open_mesh(**arguments)
    open_meshes.append((arguments, mesh))
    return mesh


def _forget_closed() -> None:
    for arguments, mesh in open_meshes.copy():
        if mesh.closed:
            mesh.close()  # if one server of the mesh has stopped, the others still run
            open_meshes.remove((arguments, mesh))


def _default_target() -> str:
    from llm_streaming.mesh.kubernetes.config import is_configured

    if os.environ.get(MESH_VARIABLE):
        return "embedded"
    if is_configured():
        return "kubernetes"
    raise MeshError('no mesh is open: open one with connect("embedded"), or configure kubectl for a cluster')


def _mesh_class(target: str) -> Callable[..., Mesh]:
    """Import and return the class of a target's mesh. Its packages are large, and may not be installed."""
    if target == "embedded":
        from llm_streaming.mesh.embedded.mesh import EmbeddedMesh

        return EmbeddedMesh
    if target == "kubernetes":
        check_installed(target, {"kubernetes": "kubernetes"})
        from llm_streaming.mesh.kubernetes.mesh import KubernetesMesh

        return KubernetesMesh
    raise MeshError(f'there is no target \'{target}\': connect to "embedded" or "kubernetes"')
