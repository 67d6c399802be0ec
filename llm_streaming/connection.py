"""Where models are deployed and reached: `connect` to a mesh, `get_mesh_ip` of the one in use."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from typing import Any

from llm_streaming.errors import MeshError
from llm_streaming.mesh.base import Mesh
from llm_streaming.mesh.remote.mesh import AttachedMesh, named_in_environment

__all__ = ["Mesh", "connect", "get_mesh_ip", "open_mesh"]

# What `connect` has opened, in order, with the arguments it was asked for.
_opened: list[tuple[dict[str, Any], Mesh]] = []


def connect(target: str = "embedded", **options: Any) -> Mesh:  # noqa: ANN401 - each target has its own
    """Open a mesh, or return the one that is open with the same arguments, as when a cell is run again.

    Where ``LLM_STREAMING_MESH`` names the embedded mesh that ``llm-streaming up`` keeps, here or, shared, on another's
    machine, ``connect("embedded")`` without options uses that one, and leaves it open.

    Args:
        target: ``"embedded"``, Envoy and MLServer on this machine, or ``"kubernetes"``, Seldon Core 2 on a cluster.
        options: those of `EmbeddedMesh` or `KubernetesMesh`.

    Raises:
        MeshError: there is no such target or option, or the mesh does not start.
        ManifestError: a Server's manifest cannot be read.
    """
    asked = {"target": target, **options}
    for arguments, mesh in _still_open():
        if arguments == asked:
            print(f"The {target} mesh is already open {_where(mesh, target)}.")
            return mesh
    mesh = open_mesh(target, **options)
    _opened.append((asked, mesh))
    print(f"The {target} mesh is open {_where(mesh, target)}.")
    return mesh


def get_mesh_ip() -> str:
    """Return what fits in ``f"http://{get_mesh_ip()}/v2/models/…"``: the mesh that was opened last and is still open.

    With none open it is the one that ``LLM_STREAMING_MESH`` names, and else that of the cluster that kubectl is
    configured for; it is then opened once.

    Raises:
        MeshError: no mesh is open and kubectl is not configured, or the cluster's mesh has no address.
    """
    if not _still_open():
        target = _found()
        _opened.append(({"target": target}, open_mesh(target)))
    return _opened[-1][1].address


def _found() -> str:
    """The target of a mesh that was opened elsewhere."""
    from llm_streaming.mesh.kubernetes.config import is_configured

    if named_in_environment():
        return "embedded"
    if is_configured():
        return "kubernetes"
    raise MeshError('no mesh is open: open one with connect("embedded"), or configure kubectl for a cluster')


def _where(mesh: Mesh, target: str) -> str:
    # A cluster's mesh is asked for its address no sooner than it is needed: models can be applied before it has one.
    if target == "kubernetes":
        return f"in {mesh}"
    return f"at {mesh if isinstance(mesh, AttachedMesh) else mesh.address}"


def _still_open() -> list[tuple[dict[str, Any], Mesh]]:
    for _, mesh in _opened:
        if mesh.closed:
            mesh.close()  # a mesh that has lost a server still runs the others
    _opened[:] = [(arguments, mesh) for arguments, mesh in _opened if not mesh.closed]
    return _opened


def open_mesh(target: str, **options: Any) -> Mesh:  # noqa: ANN401 - each target has its own
    """Open a mesh, as `connect` does, that belongs to the caller alone and is not announced.

    Raises:
        MeshError: there is no such target or option, or the mesh does not start.
        ManifestError: a Server's manifest cannot be read.
    """
    control = named_in_environment()
    if target == "embedded" and control and not options:
        return AttachedMesh(control)
    kind = _kind(target)
    known = inspect.signature(kind).parameters
    if unknown := options.keys() - known.keys():
        raise MeshError(f"the {target} mesh has no option {', '.join(sorted(unknown))}, only {', '.join(known)}")
    return kind(**options)


def _kind(target: str) -> Callable[..., Mesh]:
    """The class of mesh for a target, imported no sooner: to import the package, none of their packages is needed."""
    if target == "embedded":
        from llm_streaming.mesh.embedded.mesh import EmbeddedMesh

        return EmbeddedMesh
    if target == "kubernetes":
        if importlib.util.find_spec("kubernetes") is None:
            raise MeshError(
                "the kubernetes mesh needs the package kubernetes, which is not installed: run `make setup`, or "
                "`pip install 'llm-streaming[kubernetes]'`"
            )
        from llm_streaming.mesh.kubernetes.mesh import KubernetesMesh

        return KubernetesMesh
    raise MeshError(f'there is no target \'{target}\': connect to "embedded" or "kubernetes"')
