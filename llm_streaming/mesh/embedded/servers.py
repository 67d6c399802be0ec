"""The processes of an embedded mesh, which are started, watched and stopped together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import httpx

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Server, load_documents
from llm_streaming.mesh.base import check_installed
from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.offline_provider import OfflineProvider, is_needed
from llm_streaming.mesh.embedded.routes import Routes
from llm_streaming.mesh.processes.envoy import envoy_process
from llm_streaming.mesh.processes.group import ProcessGroup, bypass_proxies
from llm_streaming.mesh.processes.ports import LOOPBACK, free_ports, wait_until, why_taken

_START_TIMEOUT = 60.0  # seconds; four are usual
_ROUTE_TIMEOUT = 10.0  # seconds until Envoy uses a changed route; milliseconds are usual
_NOTE_TIMEOUT = 2.0  # seconds until a process's exit or message is in a file; milliseconds are usual

_EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception)\b.*", re.MULTILINE)


def read_servers(folder: Path) -> list[Server]:
    """Read the Servers in the YAML files of a folder.

    Raises:
        ManifestError: a manifest cannot be used, the folder contains none, or two Servers have the same name.
    """
    paths = sorted(folder.glob("*.yaml"))
    servers = [Server.from_dict(document) for path in paths for document in load_documents(path)]
    if not servers:
        raise ManifestError(f"{folder} contains no Server manifest: the mesh has nothing to start")
    if len({server.name for server in servers}) < len(servers):
        raise ManifestError(f"{folder} contains two Servers with the same name: rename one")
    return servers


class Servers:
    """Envoy, one MLServer for each `Server` and, if OpenAI's API cannot be used, an offline provider.

    Args:
        manifests: the Servers to start.
        port: the loopback port on which Envoy listens; by default a free port.

    Attributes:
        home: the private folder of the processes, which is removed when they stop.
        mlservers: the MLServers, by name.

    Raises:
        PortTakenError: another process took one of the chosen ports before a server could listen on it.
        MeshError: a package is not installed, the port is taken, or a process did not start.
    """

    def __init__(self, manifests: Sequence[Server], port: int | None = None) -> None:
        check_installed("embedded", {"mlserver": "mlserver", "xllamacpp": "xllamacpp"})
        bypass_proxies()
        self.port = free_ports(1)[0] if port is None else _checked(port)
        self._why_closed: str | None = None
        # `trust_env=False` ignores proxies, because this client calls only servers on this machine.
        self._http = httpx.Client(trust_env=False, base_url=f"http://{LOOPBACK}:{self.port}/v2/models/")
        self._processes = ProcessGroup()
        self.home = self._processes.home
        try:
            self._routes = Routes(self.home / "envoy" / "routes.json")
            self.mlservers = {manifest.name: self._mlserver(manifest) for manifest in manifests}
            self.provider = OfflineProvider(free_ports(1)[0]) if any(map(is_needed, manifests)) else None
            self._start()
        except BaseException:  # even on Ctrl-C, because the folder exists already
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether the servers were closed, or one of them has stopped."""
        return self._why_closed is not None or self._processes.ended() is not None

    def check(self, *, broken_off: bool = False) -> None:
        """Check that the servers can be used; if one has stopped, stop the others.

        Args:
            broken_off: whether the connection to a server has just broken. Then wait a moment, because the exit of
                that server may not have been noticed yet.

        Raises:
            MeshError: the servers are closed. If one stopped, the message names it and quotes its last log lines.
        """
        if broken_off:
            wait_until(lambda: self.closed, timeout=_NOTE_TIMEOUT)
        if self._why_closed is None and (ended := self._processes.ended()):
            self.close(why=str(ended))
        if self._why_closed is not None:
            raise MeshError(self._why_closed)

    def log(self, name: str) -> str:
        """Return the output of a process."""
        return self._processes.log(name)

    def last_exception(self, name: str, *, after: int) -> str:
        """Find the last exception in a process's log, ignoring the first `after` characters.

        MLServer's response has no message if MLServer does not know the type of the runtime's exception. MLServer
        logs the exception only after it responds, so this waits for the log.
        """
        wait_until(lambda: _EXCEPTION.search(self.log(name), after) is not None, timeout=_NOTE_TIMEOUT)
        found = _EXCEPTION.findall(self.log(name), after)
        return str(found[-1]) if found else "the server gave no reason"

    def add_route(self, model: str, server: MLServer) -> None:
        """Route requests for a model to its server, and wait until the model is ready through Envoy.

        Raises:
            MeshError: the model is not ready in time.
        """
        self._routes.add(model, server)
        if not self._answers_with(httpx.codes.OK, f"{model}/ready"):
            raise MeshError(f"model '{model}' was loaded, but did not become ready")

    def remove_route(self, model: str) -> None:
        """Remove the route to a model, and wait until Envoy rejects requests for the model."""
        self._routes.remove(model)
        self._answers_with(httpx.codes.NOT_FOUND, model)

    def close(self, *, why: str = "the mesh is closed: connect again") -> None:
        """Stop every process, and wait until all processes and files are gone. May be called several times."""
        self._why_closed = self._why_closed or why
        self._processes.stop()
        self._http.close()

    def _mlserver(self, manifest: Server) -> MLServer:
        http, grpc, metrics = free_ports(3)
        return MLServer(manifest, (http, grpc, metrics), self.home / "models" / manifest.name, self._http)

    def _start(self) -> None:
        servers = self.mlservers.values()
        config = self._routes.bootstrap(self.port, servers)
        offline = self.provider.environment() if self.provider else {}
        processes = [
            envoy_process("envoy", config, self.home / "envoy" / "envoy.json"),
            *(server.process(offline if is_needed(server.manifest) else {}) for server in servers),
        ]
        health = [f"{server.origin}/v2/health/live" for server in servers]
        if self.provider:
            processes.append(self.provider.process())
            health.append(f"{self.provider.origin}/health")
        self._processes.start(processes)
        self._processes.wait_until_ready(
            lambda: self._status("") is not None and all(self._status(url) == httpx.codes.OK for url in health),
            timeout=_START_TIMEOUT,
        )

    def _answers_with(self, status: int, path: str) -> bool:
        """Return whether a GET through Envoy returns `status` before Envoy must have read a changed route."""
        return wait_until(lambda: self._status(path) == status, timeout=_ROUTE_TIMEOUT)

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
