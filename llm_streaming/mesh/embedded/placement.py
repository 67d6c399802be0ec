"""Which server of an embedded mesh holds which Model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Model, Server, load_documents
from llm_streaming.mesh.embedded.mlserver import MLServer


def read_servers(folder: Path) -> list[Server]:
    """Read every `Server` in a folder of manifests.

    Raises:
        ManifestError: one cannot be read, there is none, or two have the same name.
    """
    paths = sorted(folder.glob("*.yaml"))
    servers = [Server.from_dict(document) for path in paths for document in load_documents(path)]
    if not servers:
        raise ManifestError(f"{folder} holds no Server manifest: the mesh has nothing to start")
    if len({server.name for server in servers}) < len(servers):
        raise ManifestError(f"{folder} holds two Servers of the same name")
    return servers


def place(model: Model, servers: Mapping[str, MLServer]) -> MLServer:
    """Find a server that is capable of all that a Model requires, and is the one it names, if it names one.

    Raises:
        MeshError: no server fits.
    """
    for server in servers.values():
        if server.manifest.holds(model.requirements) and model.server in (None, server.name):
            return server
    offers = "; ".join(
        f"{name} is capable of {', '.join(server.manifest.capabilities) or 'nothing'}"
        for name, server in servers.items()
    )
    asked = f" on server '{model.server}'" if model.server else ""
    raise MeshError(
        f"model '{model.name}' requires {', '.join(model.requirements) or 'nothing'}{asked}, and no server of this "
        f"mesh fits: {offers}"
    )


def check_standing(wanted: Server, servers: Mapping[str, MLServer]) -> None:
    """Check that a Server runs as its manifest has it: an embedded mesh starts its servers when it is opened.

    Raises:
        MeshError: there is none of that name, or it was started from another manifest.
    """
    if wanted.name not in servers:
        raise MeshError(
            f"server '{wanted.name}' is none of this mesh's, {', '.join(servers)}: put its manifest into the folder of "
            "the servers' manifests and open the mesh again"
        )
    if servers[wanted.name].manifest != wanted:
        raise MeshError(f"server '{wanted.name}' was started from another manifest: open the mesh again to change it")
