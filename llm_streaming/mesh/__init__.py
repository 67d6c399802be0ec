"""Where models are deployed and reached: `connect` to a mesh, `get_mesh_ip` of the one in use."""

from __future__ import annotations

import inspect
from typing import Any

from llm_streaming.errors import MeshError
from llm_streaming.mesh.base import Mesh

__all__ = ["Mesh", "connect", "get_mesh_ip"]

# What `connect` has opened, in order, with the arguments it was asked for.
_opened: list[tuple[dict[str, Any], Mesh]] = []


def connect(target: str = "embedded", **options: Any) -> Mesh:  # noqa: ANN401 - each target has its own
    """Open a mesh, or return the one that is open with the same arguments, as when a cell is run again.

    Args:
        target: ``"embedded"``: Envoy and MLServer on this machine.
        options: those of `llm_streaming.mesh.embedded.EmbeddedMesh`.

    Raises:
        MeshError: there is no such target or option, or the mesh does not start.
        ManifestError: a Server's manifest cannot be read.
    """
    asked = {"target": target, **options}
    for arguments, mesh in _still_open():
        if arguments == asked:
            print(f"The {target} mesh is already open at {mesh.address}.")
            return mesh
    mesh = _open(target, options)
    _opened.append((asked, mesh))
    print(f"The {target} mesh is open at {mesh.address}.")
    return mesh


def get_mesh_ip() -> str:
    """Return what fits in ``f"http://{get_mesh_ip()}/v2/models/…"``: the mesh that was opened last and is still open.

    Raises:
        MeshError: no mesh is open.
    """
    still_open = _still_open()
    if not still_open:
        raise MeshError('no mesh is open: open one with connect("embedded")')
    return still_open[-1][1].address


def _still_open() -> list[tuple[dict[str, Any], Mesh]]:
    _opened[:] = [(arguments, mesh) for arguments, mesh in _opened if not mesh.closed]
    return _opened


def _open(target: str, options: dict[str, Any]) -> Mesh:
    if target != "embedded":
        raise MeshError(f"there is no target '{target}': connect to \"embedded\"")
    from llm_streaming.mesh.embedded import EmbeddedMesh  # httpx, yaml: not needed to import the package

    known = inspect.signature(EmbeddedMesh).parameters
    if unknown := options.keys() - known.keys():
        raise MeshError(f"the embedded mesh has no option {', '.join(sorted(unknown))}, only {', '.join(known)}")
    return EmbeddedMesh(**options)
