"""``llm-streaming up``: an embedded mesh in the foreground, for other shells and notebooks, or for a room."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
    from llm_streaming.mesh.remote.service import Control
    from llm_streaming.sharing.gateway import Gateway

_LOOK = 1.0  # seconds between looks at whether a server has ended, which nothing announces


def up(
    port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Where the mesh listens on loopback; by default a free port.")
    ] = None,
    share: Annotated[bool, typer.Option("--share", help="Let others in this network in, who have the token.")] = False,
    share_host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="With --share: the address to listen at; by default all of this machine."),
    ] = None,
    share_port: Annotated[
        int | None, typer.Option(metavar="PORT", help="With --share: the port to listen at; by default a free port.")
    ] = None,
) -> None:
    """Open a mesh on this machine and keep it open until Ctrl-C.

    Envoy and MLServer run here, with no model yet. The first line on standard output, run in another shell, leads the
    other commands and notebooks there to this mesh. With --share comes a second line, which does so on the machines of
    others.
    """
    from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
    from llm_streaming.mesh.progress import reporting_to
    from llm_streaming.mesh.remote.mesh import VARIABLE
    from llm_streaming.mesh.remote.service import Control

    if not share and (share_host or share_port):
        raise typer.BadParameter("--share-host and --share-port belong to --share")
    ended = threading.Event()
    with reporting_to(_say), ExitStack() as opened:
        mesh = opened.enter_context(EmbeddedMesh(port=port))
        control = opened.enter_context(Control(mesh))
        gateway = opened.enter_context(_gateway(mesh, control, share_host, share_port)) if share else None
        for number in (signal.SIGINT, signal.SIGTERM):
            # Noted and not raised: an exception could come in the middle of closing the mesh.
            signal.signal(number, lambda *_: ended.set())
        _say(f"The embedded mesh is open at {mesh.address}, until Ctrl-C. In other shells, before JupyterLab too, run:")
        print(f"export {VARIABLE}={shlex.quote(str(control.path))}", flush=True)
        if gateway:
            _say(f"It is shared at {gateway.invitation.address} with whoever has this line; others in the room run:")
            print(f"export {VARIABLE}={shlex.quote(str(gateway.invitation))}", flush=True)
        while not ended.wait(_LOOK):
            mesh.check()
            if gateway:
                gateway.check()


def _gateway(mesh: EmbeddedMesh, control: Control, host: str | None, port: int | None) -> Gateway:
    from llm_streaming.mesh.processes.ports import EVERYWHERE
    from llm_streaming.sharing.gateway import Gateway

    names = [server["metadata"]["name"] for server in mesh.resources("Server")]
    metrics = {name: _port(mesh.metrics_address(name)) for name in names}
    return Gateway(_port(mesh.address), metrics, control.guests, host=host or EVERYWHERE, port=port)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
