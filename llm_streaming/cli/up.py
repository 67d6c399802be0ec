"""``llm-streaming up`` and ``reset``: an embedded mesh for other shells, notebooks and machines."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

from typer import BadParameter, Option

from llm_streaming.cli.options import embedded_mesh
from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.mesh.progress import reporting_to
from llm_streaming.mesh.token import FILE

if TYPE_CHECKING:
    from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
    from llm_streaming.mesh.remote.service import MeshService
    from llm_streaming.sharing.gateway import Gateway

_INTERVAL = 1.0  # seconds between checks that the servers still run


def up(
    port: Annotated[
        int | None, Option(metavar="PORT", help="The mesh's port on loopback; by default a free port.")
    ] = None,
    share: Annotated[
        bool, Option("--share", help="Share the mesh with machines in this network that have a secret token.")
    ] = False,
    token: Annotated[
        bool, Option("--token", help="Require a secret token, so that other accounts of this machine cannot use it.")
    ] = False,
    share_host: Annotated[
        str | None,
        Option(metavar="ADDRESS", help="With --share: the address to listen on; by default all addresses."),
    ] = None,
    share_port: Annotated[
        int | None, Option(metavar="PORT", help="With --share: the port to listen on; by default a free port.")
    ] = None,
) -> None:
    """Open a mesh on this machine and keep it open until Ctrl-C.

    The mesh consists of Envoy and MLServer, and has no models at first. The command prints a line to run in other
    shells: commands and notebooks that are started there use this mesh. With --share, it prints a second line for other
    machines.
    """
    from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
    from llm_streaming.mesh.remote.service import MeshService

    if not share and (share_host or share_port):
        raise BadParameter("--share-host and --share-port require --share")
    ended = threading.Event()
    with reporting_to(_say), ExitStack() as stack:
        mesh = stack.enter_context(EmbeddedMesh(port=port, token=token))
        service = stack.enter_context(MeshService(mesh))
        gateway = _share(mesh, service, share_host, share_port, stack) if share else None
        for number in (signal.SIGINT, signal.SIGTERM):
            # Set an event, because an exception could interrupt the closing of the mesh.
            signal.signal(number, lambda *_: ended.set())
        _say(f"The embedded mesh is open at {mesh.address} until Ctrl-C. In other shells, also for JupyterLab, run:")
        print(f"export {MESH_VARIABLE}={shlex.quote(str(service.path))}", flush=True)
        if token:
            _say(f"The mesh requires a token, which these programs send. For curl, add: -H @{mesh.home / FILE}")
        if gateway:
            _say(f"The mesh is shared at {gateway.invitation.address} with everyone who runs this command:")
            print(f"export {MESH_VARIABLE}={shlex.quote(str(gateway.invitation))}", flush=True)
        while not ended.wait(_INTERVAL):
            mesh.check()
            if gateway:
                gateway.check()


def reset() -> None:
    """Remove all models from the mesh of `llm-streaming up`.

    This includes the models of other users. Only the presenter can reset a shared mesh.
    """
    with embedded_mesh() as mesh:
        if mesh.resources("Model"):
            mesh.reset()
        else:
            print("No models found.", file=sys.stderr)


def _share(mesh: EmbeddedMesh, service: MeshService, host: str | None, port: int | None, stack: ExitStack) -> Gateway:
    from llm_streaming.mesh.processes.ports import EVERYWHERE
    from llm_streaming.sharing.gateway import Gateway
    from llm_streaming.sharing.guests import GuestService

    guests = stack.enter_context(GuestService(mesh, service))
    names = [server["metadata"]["name"] for server in mesh.resources("Server")]
    metrics = {name: _port(mesh.metrics_address(name)) for name in names}
    gateway = Gateway(
        _port(mesh.address), metrics, guests.path, host=host or EVERYWHERE, port=port, mesh_token=mesh.token
    )
    return stack.enter_context(gateway)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
