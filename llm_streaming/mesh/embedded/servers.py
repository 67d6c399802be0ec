"""The processes of an embedded mesh, which are started, watched and stopped together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import httpx

from llm_streaming.client.tokens import authorization
from llm_streaming.errors import MeshError
from llm_streaming.manifests import Server
from llm_streaming.mesh.base import check_installed
from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.offline_provider import OfflineProvider, is_needed
from llm_streaming.mesh.embedded.routes import Routes
from llm_streaming.mesh.processes.envoy import envoy_process
from llm_streaming.mesh.processes.group import Exit, ProcessGroup, bypass_proxies
from llm_streaming.mesh.processes.ports import LOOPBACK, PATIENCE, free_ports, wait_until, why_taken
from llm_streaming.mesh.token import create_token

_LOG_TIMEOUT = 60.0  # seconds until a server's message is in its log; milliseconds are usual
_EXCEPTION = re.compile(r"^[ \t]*([\w.]*(?:Error|Exception)\b.*)", re.MULTILINE)


class ServerExitedError(MeshError):
    """A server exited while it loaded or unloaded a model."""


class Servers:
    """Envoy, one MLServer for each `Server` and, if OpenAI's API cannot be used, an offline provider.

    A process that exits is started again; after the third exit within a minute, all are closed.

    Args:
        manifests: the Servers to start.
        port: the loopback port on which Envoy listens, or None for a free port.
        token: whether requests to models must have a token.
        on_exit: called in a thread when a process has exited and was started again. An MLServer then has no models.

    Attributes:
        home: the private folder of the processes, which is removed when they stop.
        token: the token, or None.
        mlservers: the MLServers, by name.
        routes: the routes to the models.

    Raises:
        PortTakenError: another process took one of the chosen ports before a server could listen on it.
        MeshError: a package is not installed, the port is taken, or a process did not start.
    """

    def __init__(
        self, manifests: Sequence[Server], port: int | None, *, token: bool, on_exit: Callable[[Exit], None]
    ) -> None:
        check_installed("embedded", {"mlserver": "mlserver", "xllamacpp": "xllamacpp"})
        bypass_proxies()
        self.port = free_ports(1)[0] if port is None else _checked(port)
        self._why_closed: str | None = None
        self._on_exit = on_exit
        # `trust_env=False` ignores proxies, because this client calls only servers on this machine.
        self._http = httpx.Client(trust_env=False, base_url=f"http://{LOOPBACK}:{self.port}/v2/models/")
        self._processes = ProcessGroup()
        self.home = self._processes.home
        self.mlservers: dict[str, MLServer] = {}
        try:
            self.token = create_token(self.home) if token else None
            self._http.headers = httpx.Headers(authorization(f"{LOOPBACK}:{self.port}", self.token))
            self.routes = Routes(self.home / "envoy" / "routes.json")
            ports = free_ports(len(manifests))
            self.mlservers = {
                # The sockets have numbers instead of names, because their paths must be short.
                one.name: MLServer(one, self.home / str(number), ports[number], self.home / "models" / one.name)
                for number, one in enumerate(manifests)
            }
            self.provider = OfflineProvider(free_ports(1)[0]) if any(map(is_needed, manifests)) else None
            self._start()
        except BaseException:  # even on Ctrl-C, because the folder exists already
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether the servers were closed, or one of them has exited for good."""
        return self._why_closed is not None or self._processes.ended() is not None

    def check(self) -> None:
        """Check that the servers can be used; if one has exited for good, stop the other servers.

        Raises:
            MeshError: the servers are closed. If one exited, the message names it and quotes its last log lines.
        """
        if self._why_closed is None and (ended := self._processes.ended()):
            self.close(why=str(ended))
        if self._why_closed is not None:
            raise MeshError(self._why_closed)

    def log(self, name: str) -> str:
        """Return the output of a process, after the output of its earlier starts."""
        return self._processes.log(name)

    def last_exception(self, name: str, *, after: int) -> str:
        """Find the last exception in a process's log, ignoring the first `after` characters.

        MLServer's response has no message if MLServer does not know the type of the runtime's exception. MLServer
        logs the exception only after it responds, so this waits for the log.
        """
        wait_until(lambda: self.closed or _EXCEPTION.search(self.log(name), after) is not None, timeout=_LOG_TIMEOUT)
        found = _EXCEPTION.findall(self.log(name), after)
        return str(found[-1]) if found else "the server gave no reason"

    def starts(self, server: MLServer) -> int:
        """Return how often a server was started."""
        return self._processes.starts(server.name)

    def load(self, model: str, server: MLServer) -> int:
        """Load a model once its server is live, and wait until the model is ready through Envoy.

        Returns:
            The number of the server's start, counted from 1, after which the model was loaded. If the server has been
            started again since, the model is not loaded any more.

        Raises:
            ServerExitedError: the server exited.
            MeshError: the model failed to load, or the servers are closed; the message is empty if MLServer gave none.
        """
        with self._live(server) as start:
            server.load(model)
        self.routes.add(model, server)

        def is_ready() -> bool:
            return self._status(f"{model}/ready") == httpx.codes.OK

        def exited() -> bool:
            return self.closed or self.starts(server) > start

        is_decided = wait_until(lambda: is_ready() or exited(), timeout=PATIENCE)
        if exited():
            raise self._broken_off(server, start)
        if not is_decided:
            raise MeshError(f"model '{model}' was loaded, but is not ready after {PATIENCE:g} s")
        return start

    def unload(self, model: str, server: MLServer) -> None:
        """Unload a model whose route was removed, once Envoy rejects requests for the model.

        Raises:
            MeshError: the model failed to unload, or the servers are closed.
        """
        wait_until(lambda: self.closed or self._status(model) == httpx.codes.NOT_FOUND, timeout=PATIENCE)
        with suppress(ServerExitedError), self._live(server):  # the exit of a server unloads its models, too
            server.unload(model)

    def close(self, *, why: str = "the mesh is closed: connect again") -> None:
        """Stop every process, and wait until all processes and files are gone. May be called several times."""
        self._why_closed = self._why_closed or why
        self._processes.stop()
        self._http.close()
        for server in self.mlservers.values():
            server.close()

    def _start(self) -> None:
        servers = self.mlservers.values()
        config = self.routes.bootstrap(self.port, servers, self.token)
        offline = self.provider.environment() if self.provider else {}
        processes = [
            envoy_process("envoy", config, self.home / "envoy" / "envoy.json"),
            *(server.process(offline if is_needed(server.manifest) else {}) for server in servers),
        ]
        if self.provider:
            processes.append(self.provider.process())
        self._processes.start(processes)
        self._processes.wait_until_ready(self._are_ready, timeout=PATIENCE)
        self._processes.keep_running(self._note_exit)

    def _are_ready(self) -> bool:
        provided = self.provider is None or self._status(f"{self.provider.origin}/health") == httpx.codes.OK
        return provided and self._status("") is not None and all(one.is_live() for one in self.mlservers.values())

    def _note_exit(self, exited: Exit | None) -> None:
        if exited and exited.restarted:
            self._on_exit(exited)
        elif self._why_closed is None:
            self.close(why=str(self._processes.ended()))

    @contextmanager
    def _live(self, server: MLServer) -> Iterator[int]:
        """Wait until a server is live, yield the number of its start, and report if it exits in the ``with`` block.

        Raises:
            ServerExitedError: the server exited.
            MeshError: the servers are closed, or the server does not answer.
        """
        start = 0

        def is_live() -> bool:
            nonlocal start
            start = self.starts(server)
            return self.closed or server.is_live()

        is_up = wait_until(is_live, timeout=PATIENCE)
        self.check()
        if not is_up:
            raise MeshError(f"server '{server.name}' does not answer within {PATIENCE:g} s")
        try:
            yield start
        except httpx.TransportError:
            raise self._broken_off(server, start) from None

    def _broken_off(self, server: MLServer, start: int) -> MeshError:
        """Return the error to raise if the connection to a server has broken, once the server's exit was noticed."""
        exited = self._processes.wait_for_exit(server.name, start, timeout=PATIENCE)
        self.check()
        if exited:
            return ServerExitedError(str(exited))
        return MeshError(f"the connection to server '{server.name}' broke")

    def _status(self, url: str) -> int | None:
        """GET a URL, or a path below Envoy's ``/v2/models/``, and return the status, or None without a response."""
        try:
            return self._http.get(url).status_code
        except httpx.TransportError:
            return None


def _checked(port: int) -> int:
    reason = why_taken(LOOPBACK, port) if port else "a port is a number from 1 to 65535"
    if reason:
        raise MeshError(
            f"port {port} on {LOOPBACK} cannot be used ({reason}): choose another port, or stop the program that "
            "listens there"
        )
    return port
