"""A port-forward that outlives its connection: kubectl's ends when the pod does, or when a connection breaks.

Run as a process of its own by `llm_streaming.mesh.kubernetes.address`, with kubectl's command line as its arguments.
kubectl is started again whenever it ends, unless it has never led anywhere: then its words are the reason.
"""

import subprocess
import sys
import time

_PAUSE = 1.0  # seconds before the next attempt: nothing announces that the pod is back
_LEADS = "Forwarding from "  # what kubectl says once it listens


def main(argv: list[str]) -> int:
    """Forward until this process is ended; returns kubectl's exit status if it does not get through at first."""
    status, got_through = _forward(argv)
    while got_through:
        time.sleep(_PAUSE)
        _forward(argv)
    return status


def _forward(argv: list[str]) -> tuple[int, bool]:
    """Run kubectl until it ends; returns its exit status, and whether it had listened."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as kubectl:
        assert kubectl.stdout is not None  # noqa: S101 - it was asked for
        got_through = False
        for line in kubectl.stdout:
            got_through = got_through or line.startswith(_LEADS)
            print(line, end="", flush=True)
    return kubectl.returncode, got_through


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
