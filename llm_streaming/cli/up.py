"""``llm-streaming up``: an embedded mesh in the foreground, for other shells and notebooks."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from typing import Annotated

import typer

_LOOK = 1.0  # seconds between looks at whether a server has ended, which nothing announces


def up(
    port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Where the mesh listens on loopback; by default a free port.")
    ] = None,
) -> None:
    """Open a mesh on this machine and keep it open until Ctrl-C.

    Envoy and MLServer run here, with no model yet. The one line on standard output, run in another shell, leads the
    other commands and notebooks there to this mesh.
    """
    from llm_streaming.mesh.attached import VARIABLE
    from llm_streaming.mesh.control import Control
    from llm_streaming.mesh.embedded import EmbeddedMesh
    from llm_streaming.mesh.telling import telling

    ended = threading.Event()
    with telling(_say), EmbeddedMesh(port=port) as mesh, Control(mesh) as control:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Noted and not raised: an exception could come in the middle of closing the mesh.
            signal.signal(number, lambda *_: ended.set())
        _say(f"The embedded mesh is open at {mesh.address}, until Ctrl-C. In other shells, before JupyterLab too, run:")
        print(f"export {VARIABLE}={shlex.quote(str(control.path))}", flush=True)
        while not ended.wait(_LOOK):
            mesh.check()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
