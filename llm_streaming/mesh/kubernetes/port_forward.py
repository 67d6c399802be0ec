"""Port-forwards into a cluster, which are restarted when their pod stops or their connection breaks.

As a script, this module runs the ``kubectl port-forward`` command in its arguments, and restarts kubectl whenever it
exits. If kubectl exits before it has listened, the script exits too, and kubectl's output gives the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes.group import Process, ProcessGroup
from llm_streaming.mesh.processes.ports import LOOPBACK, answers, free_ports

if TYPE_CHECKING:
    from llm_streaming.mesh.kubernetes.config import Connection

_START_TIMEOUT = 60.0  # seconds; one or two are usual
_PAUSE = 1.0  # seconds before a restart; nothing announces that the pod is back
_LISTENS = "Forwarding from "  # kubectl prints this once it listens


class PortForwards:
    """Ports on loopback that forward to a cluster until this process ends."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._forwards: dict[str, tuple[str, ProcessGroup]] = {}

    def open(self, target: str, port: int) -> str:
        """Return the ``host:port`` on loopback that forwards to a port of ``svc/<name>`` or ``pod/<name>``.

        Raises:
            MeshError: kubectl is not installed, or cannot reach the target.
        """
        if target in self._forwards:
            address, group = self._forwards[target]
            if not group.ended():
                return address
            group.stop()
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            command = self._connection.kubectl(f"port-forward {target} 8080:{port}")
            raise MeshError(
                f"{target} has no address outside the cluster, and kubectl, which can forward a port to it, is not on "
                f"PATH: install kubectl, or run {command} on a machine that has kubectl, and connect there to "
                "localhost:8080"
            )
        local = free_ports(1)[0]
        command = f"port-forward {target} {local}:{port}"
        argv = [sys.executable, "-m", __name__, kubectl, *self._connection.argv(command)[1:]]
        # The supervisor has another working directory, so the paths have to be absolute.
        environment = {**os.environ, "KUBECONFIG": self._connection.kubeconfig}
        group = ProcessGroup()
        group.start([Process("kubectl", argv, environment)])
        try:
            group.wait_until_ready(lambda: answers(LOOPBACK, local), timeout=_START_TIMEOUT)
        except MeshError:
            output = " ".join(group.log("kubectl", lines=3).split()) or "kubectl printed nothing"
            group.stop()
            raise MeshError(
                f"{target} cannot be reached through the cluster ({output}): {self._connection.kubectl(command)} shows "
                "more"
            ) from None
        self._forwards[target] = (f"{LOOPBACK}:{local}", group)
        return self._forwards[target][0]

    def lost(self) -> bool:
        """Return whether a port-forward has stopped by itself."""
        return any(group.ended() for _, group in self._forwards.values())

    def close(self) -> None:
        """Stop all port-forwards, and wait until they are gone."""
        for _, group in self._forwards.values():
            group.stop()
        self._forwards.clear()


def main(argv: list[str]) -> int:
    """Run kubectl repeatedly until this process is stopped, or return its exit status if it never listened."""
    status, listened = _forward(argv)
    while listened:
        time.sleep(_PAUSE)
        _forward(argv)
    return status


def _forward(argv: list[str]) -> tuple[int, bool]:
    """Run kubectl until it exits, and return its exit status and whether it has listened."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as kubectl:
        assert kubectl.stdout is not None  # noqa: S101 - because of stdout=PIPE
        listened = False
        for line in kubectl.stdout:
            listened = listened or line.startswith(_LISTENS)
            print(line, end="", flush=True)
    return kubectl.returncode, listened


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
