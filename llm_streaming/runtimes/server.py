"""Starts MLServer, on unix sockets if asked, and with one grace period for all requests when it is stopped.

``python -m llm_streaming.runtimes <repository>`` replaces ``mlserver start <repository>``. With ``--sockets
<prefix>``, MLServer listens on no port, but on the unix sockets ``<prefix>.http``, ``<prefix>.grpc:0`` and
``<prefix>.metrics``. The environment variable ``LLM_STREAMING_GRACE`` contains the seconds for which running requests
may continue after SIGTERM; the default is 20.

MLServer's own command has no option for sockets. After SIGTERM it waits for HTTP streams without a limit, and then cuts
gRPC streams after 5 s. This module uses private parts of MLServer and uvicorn; tests/unit/test_server_seams.py checks
each of them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlserver.metrics.server
import mlserver.rest.server
from mlserver import MLServer
from mlserver.cli.serve import load_settings
from mlserver.logging import logger
from mlserver.settings import Settings

from llm_streaming.runtimes.chat import ChatRuntime
from llm_streaming.runtimes.loop import Loop

GRACE_VARIABLE = "LLM_STREAMING_GRACE"
"""The environment variable with the seconds for which running requests may continue after SIGTERM."""

_GRACE = "20"  # seconds; Kubernetes kills a pod 30 s after SIGTERM
_LAST_WORDS = 1.0  # seconds after the grace period in which clients can read why their requests end


class Server(MLServer):
    """MLServer with one grace period for HTTP and gRPC.

    Args:
        settings: MLServer's settings.
        grace: seconds for which running requests may continue after the first signal to stop.
    """

    def __init__(self, settings: Settings, grace: float) -> None:
        super().__init__(settings)
        self._grace = grace
        self._stopping = False

    async def stop(self, sig: int | None = None) -> None:
        """Accept no new requests, let running requests continue for the grace period, and stop.

        Requests that still run after the grace period end with an error 503. A second call, such as for a second
        signal, cuts all requests at once.
        """
        if self._stopping:
            await self._cut()
            return
        self._stopping = True
        logger.info("stopping: running requests may continue for %g s", self._grace)
        http, grpc = self._rest_server._server, self._grpc_server._server  # noqa: SLF001 - MLServer has no other access
        http.handle_exit(sig or signal.SIGTERM, None)
        idle = asyncio.gather(grpc.stop(self._grace + _LAST_WORDS), _until(lambda: not http.server_state.connections))
        await asyncio.wait((idle,), timeout=self._grace)
        if not idle.done():
            await self._end_streams()
            await asyncio.wait((idle,), timeout=_LAST_WORDS)
        idle.cancel()
        await self._cut()
        await super().stop(sig)

    async def _end_streams(self) -> None:
        for model in await self._model_registry.get_models():
            if isinstance(model, ChatRuntime):
                model.end_streams("The server is stopping: try again in a minute.")

    async def _cut(self) -> None:
        """Break off all requests, including those whose client does not read."""
        await self._end_streams()
        http = self._rest_server._server  # noqa: SLF001
        http.force_exit = True
        for connection in list(http.server_state.connections):
            connection.transport.abort()
        await self._grpc_server._server.stop(None)  # noqa: SLF001


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.05)


@contextmanager
def _no_handlers(_: object) -> Iterator[None]:
    """Install no signal handlers. Those of uvicorn would replace MLServer's, and stop one server after the other."""
    yield


async def _serve(repository: str, sockets: str | None, grace: float) -> None:
    settings, models = await load_settings(repository)
    settings.debug = False  # by default, Starlette sends tracebacks to clients, and the log has a line for each request
    http: dict[str, Any] = {"lifespan": "off"}  # MLServer does not use it, and cutting requests would interrupt it
    if sockets:
        # Only uvicorn accepts `uds`. `host` is also a setting of the metrics server, where `uds` has precedence.
        settings.host, settings.grpc_port = f"unix:{sockets}.grpc", 0
        http["uds"] = f"{sockets}.http"
        settings._custom_metrics_server_settings = {"uds": f"{sockets}.metrics"}  # noqa: SLF001
    settings._custom_rest_server_settings = http  # noqa: SLF001
    for module in (mlserver.rest.server, mlserver.metrics.server):
        module._NoSignalServer.capture_signals = _no_handlers  # noqa: SLF001
    await Server(settings, grace).start(models)


def _grace() -> float:
    value = os.environ.get(GRACE_VARIABLE, _GRACE)
    try:
        return max(0.0, float(value))
    except ValueError:
        raise SystemExit(f"{GRACE_VARIABLE} must be a number of seconds, but is '{value}'") from None


def main() -> None:
    """Serve the models of a repository until SIGTERM, SIGINT or SIGQUIT."""
    parser = argparse.ArgumentParser(prog="python -m llm_streaming.runtimes", description="Start MLServer.")
    parser.add_argument("repository", help="the folder of the models")
    parser.add_argument("--sockets", metavar="PREFIX", help="the start of the paths of unix sockets, to use no ports")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(_serve(arguments.repository, arguments.sockets, _grace()))
