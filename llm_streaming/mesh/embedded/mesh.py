"""The mesh on one machine: Models deployed on a real MLServer, and reached through a real Envoy."""

from __future__ import annotations

import atexit
import time
from pathlib import Path
from typing import Any, Self

from llm_streaming.errors import MeshError
from llm_streaming.manifests import Manifest, Model, Server, load_documents, read_manifests
from llm_streaming.mesh.embedded.deployments import Deployments
from llm_streaming.mesh.embedded.offline_provider import NOTICE
from llm_streaming.mesh.embedded.placement import check_standing, read_servers
from llm_streaming.mesh.embedded.servers import start_stack
from llm_streaming.mesh.processes.ports import LOOPBACK
from llm_streaming.mesh.progress import report
from llm_streaming.paths import in_project


class EmbeddedMesh:
    """Envoy and MLServer on this machine, on loopback, for as long as this process lives.

    Args:
        servers: folder of `Server` manifests; each gets an MLServer process of its own.
        models: folder that holds the models' folders.
        port: where the mesh listens; by default a free port is found.

    Raises:
        ManifestError: a Server's manifest cannot be read.
        MeshError: a part is not installed, the port is taken, or a process did not start.
    """

    def __init__(
        self, *, servers: str | Path = "manifests/servers", models: str | Path = "models", port: int | None = None
    ) -> None:
        self._models = in_project(models)
        self._stack = start_stack(read_servers(in_project(servers)), port)
        self._closed = False
        self._why_closed = "the mesh is closed: connect again"
        self._deployments = Deployments(self._stack, self._models, check=self.check, closed=self._reason)
        atexit.register(self.close)
        if self._stack.provider:
            report(NOTICE)

    @property
    def closed(self) -> bool:
        """Whether it can be used no more; a mesh that has lost a server is closed."""
        self._close_if_lost()
        return self._closed

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint."""
        return f"{LOOPBACK}:{self._stack.port}"

    @property
    def grpc_address(self) -> str:
        """``host:port`` of the gRPC endpoint: the same, as on SC2."""
        return self.address

    def metrics_address(self, server: str) -> str:
        """``host:port`` where a server shows its ``/metrics``.

        Raises:
            MeshError: there is no server of that name.
        """
        mlservers = self._stack.mlservers
        if server not in mlservers:
            raise MeshError(f"there is no server '{server}' on this mesh, only {', '.join(mlservers)}")
        return f"{LOOPBACK}:{mlservers[server].ports[2]}"

    @property
    def home(self) -> Path:
        """Its private folder, which goes with it."""
        return self._stack.home

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Model in a manifest (a YAML file's path, or a mapping); returns before it is ready.

        Raises:
            ManifestError: the manifest or the model's folder cannot be used.
            MeshError: no server can hold the model, one has ended, or a Server is none that the mesh was opened with.
        """
        self.check()
        resources = read_manifests(manifest)
        for server in [one for one in resources if isinstance(one, Server)]:
            check_standing(server, self._stack.mlservers)
            report(f"server.mlops.seldon.io/{server.name} unchanged")
        with self._deployments.changing:
            for wanted in [self._deployments.plan(one) for one in resources if isinstance(one, Model)]:
                self._deployments.settle(wanted)

    def would_change(self, manifest: Manifest) -> bool:
        """Whether to apply a Model's manifest would replace a model that is deployed by another; raises as `apply`."""
        self.check()
        return any(self._deployments.would_change(self._deployments.plan(one)) for one in _models(manifest))

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until models are ready, all of them by default, for `timeout` seconds at most.

        Raises:
            MeshError: a model is not deployed, failed to load (then it is removed), or is still loading.
        """
        self.check()
        deadline = time.monotonic() + timeout
        for name in names or self._deployments.names():
            deployment = self._deployments.deployed(name)
            try:
                deployment.loaded.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise MeshError(
                    f"model '{name}' is still loading after {timeout:g} s: wait longer, or read mesh.logs('{name}')"
                ) from None
            except MeshError:
                self._deployments.withdraw(deployment)
                raise
            report(f"model.mlops.seldon.io/{name} condition met")

    def delete(self, manifest: Manifest) -> None:
        """Remove the Model in a manifest; returns when it is gone.

        Raises:
            ManifestError: the manifest cannot be read.
            MeshError: the model is not deployed, or one of the servers has ended.
        """
        self.check()
        with self._deployments.changing:
            for deployment in [self._deployments.deployed(model.name) for model in _models(manifest)]:
                self._deployments.withdraw(deployment)
                report(f'model.mlops.seldon.io "{deployment.name}" deleted')

    def resources(self, kind: str) -> list[dict[str, Any]]:
        """The Models or Servers there are, as a cluster shows them: each manifest, with a status.

        Raises:
            MeshError: one of the servers has ended.
        """
        self.check()
        if kind == "Model":
            return self._deployments.resources()
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        return [server.manifest.as_dict() | ready for server in self._stack.mlservers.values()]

    def logs(self, model: str) -> str:
        """What the server that holds a model has logged, or held it until it failed or was deleted.

        Raises:
            MeshError: no such model has been deployed.
        """
        return self._stack.log(self._deployments.last_server(model).name)

    def check(self) -> None:
        """Check that the mesh can be used; one that has lost a server is closed.

        Raises:
            MeshError: it cannot; the message says which server ended, and its last lines, to each who asks.
        """
        self._close_if_lost()
        if self._closed:
            raise MeshError(self._why_closed)

    def close(self) -> None:
        """End every server; returns when they and their files are gone. May be called again."""
        self._closed = True
        self._stack.close()
        atexit.unregister(self.close)

    def __str__(self) -> str:
        return self.address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _close_if_lost(self) -> None:
        if (lost := self._stack.ended()) and not self._closed:
            self._why_closed = str(lost)
            self.close()

    def _reason(self) -> MeshError | None:
        return MeshError(self._why_closed) if self._closed else None


def _models(manifest: Manifest) -> list[Model]:
    if isinstance(manifest, Model):
        return [manifest]
    return [Model.from_dict(document) for document in load_documents(manifest)]
