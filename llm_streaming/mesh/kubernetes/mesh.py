"""The mesh on a cluster: Models deployed on Seldon Core 2, and reached through its service."""

from __future__ import annotations

import time
from typing import Self

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Manifest, Model, Server, capabilities, read_manifests
from llm_streaming.mesh.base import qualified
from llm_streaming.mesh.kubernetes.address import PortForwards, find_address
from llm_streaming.mesh.kubernetes.api import Cluster, Resource
from llm_streaming.mesh.kubernetes.config import find_connection
from llm_streaming.mesh.progress import report
from llm_streaming.mesh.status import ModelStatus

_DELETE_TIMEOUT = 300.0  # seconds; a model that is unloaded goes in a few
_METRICS_PORT = 8082  # MLServer's own; the one that SC2's agent opens, 9006, knows nothing of the runtimes

# The label by which SC2 marks a Server's pods (SeldonIO/seldon-core, operator/pkg/constants).
_SERVER_LABEL = "seldon-server-name"


class KubernetesMesh:
    """Seldon Core 2 on a Kubernetes cluster, found as kubectl finds it. Models stay there when this is closed.

    Args:
        namespace: where SC2 runs; by default ``SELDON_NAMESPACE``, then the context's own, then ``seldon``.
        context: the kubeconfig's context; by default the current one.
        kubeconfig: the kubeconfig; by default those that ``KUBECONFIG`` names, then ``~/.kube/config``, and with
            none of them, inside a pod, its service account.

    Raises:
        MeshError: no cluster is configured, it cannot be reached or refuses the credentials, or has no SC2.
    """

    def __init__(
        self, *, namespace: str | None = None, context: str | None = None, kubeconfig: str | None = None
    ) -> None:
        self._connection = find_connection(namespace=namespace, context=context, kubeconfig=kubeconfig)
        self._cluster = Cluster(self._connection)
        self._forwards = PortForwards(self._connection)
        self._address: str | None = None
        self._applied: dict[str, ModelStatus | None] = {}  # with the status that the last change has outdated
        self.closed = False

    def __str__(self) -> str:
        return str(self._connection)

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint, looked up when it is first asked for.

        Raises:
            MeshError: the mesh has no address, or none yet.
        """
        self._check()
        if self._address is None or self._forwards.has_lost_one():
            self._address = find_address(self._cluster, self._forwards)
        return self._address

    @property
    def grpc_address(self) -> str:
        """``host:port`` of the gRPC endpoint: the same."""
        return self.address

    def metrics_address(self, server: str) -> str:
        """``host:port`` where a server's first replica shows its ``/metrics``, by a port-forward.

        Raises:
            MeshError: there is no server of that name, or it cannot be reached.
        """
        self._check()
        if self._cluster.get("Server", server) is None:
            raise MeshError(
                f"there is no server '{server}' in {self}: {self._connection.kubectl('get servers')} shows those there"
            )
        return self._forwards.open(f"pod/{server}-0", _METRICS_PORT)

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Model or Server in a manifest (a YAML file's path, or a mapping); returns before it is ready.

        Raises:
            ManifestError: the manifest cannot be used.
            MeshError: the cluster rejects it, forbids it, or cannot be reached.
        """
        self._check()
        for document in self._read(manifest):
            kind, name = document["kind"], document["metadata"]["name"]
            before = self._cluster.get(kind, name)
            after = self._cluster.apply(document)
            result = "created" if before is None else _change(before, after)
            if kind == "Model" and (result != "unchanged" or name not in self._applied):
                self._applied[name] = ModelStatus.of(before) if before and result == "configured" else None
            report(f"{qualified(kind)}/{name} {result}")

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until models are ready, by default all that were applied here, for `timeout` seconds at most.

        Raises:
            MeshError: a model is not deployed, has failed (then it stays on the cluster), or is not ready in time.
        """
        self._check()
        deadline = time.monotonic() + timeout
        for name in names or list(self._applied):
            status = self._follow(name, deadline)
            if status.ready:
                report(f"model.mlops.seldon.io/{name} condition met")
                continue
            more = f"{self._connection.kubectl(f'describe model {name}')} shows more"
            if status.failed:
                raise MeshError(f"model '{name}' has failed ({status.words}); it stays on the cluster, where {more}")
            said = f" ({status.words})" if status.words else ""
            raise MeshError(f"model '{name}' is not ready after {timeout:g} s{said}: wait longer; {more}")

    def delete(self, manifest: Manifest) -> None:
        """Remove the Model or Server in a manifest; returns when it is gone.

        Raises:
            ManifestError: the manifest cannot be used.
            MeshError: it is not deployed, stays, or the cluster forbids this or cannot be reached.
        """
        self._check()
        for document in self._read(manifest):
            kind, name = document["kind"], document["metadata"]["name"]
            uid = self._cluster.delete(kind, name)
            if uid is None:
                raise self._absent(kind, name)
            self._await_end(kind, name, uid)
            if kind == "Model":
                self._applied.pop(name, None)
            report(f'{qualified(kind)} "{name}" deleted')

    def resources(self, kind: str) -> list[Resource]:
        """The Models or Servers in the mesh's namespace.

        Raises:
            MeshError: the cluster forbids this or cannot be reached.
        """
        self._check()
        return self._cluster.list(kind)

    def logs(self, model: str) -> str:
        """What the server that holds a model has logged, one replica after the other.

        Raises:
            MeshError: the model is not deployed, or several servers could hold it.
        """
        self._check()
        found = self._cluster.get("Model", model)
        if found is None:
            raise self._absent("Model", model)
        label = f"{_SERVER_LABEL}={self._holder(Model.from_dict(found))}"
        pods = self._cluster.list("Pod", api_version="v1", labels=label)
        return "\n".join(self._cluster.log(pod["metadata"]["name"], "mlserver") for pod in pods)

    def close(self) -> None:
        """End what was opened for the mesh on this machine. May be called again."""
        self.closed = True
        self._forwards.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check(self) -> None:
        if self.closed:
            raise MeshError("the mesh is closed: connect again")

    def _read(self, manifest: Manifest) -> list[Resource]:
        """Read a manifest as its author wrote it, checked, and with this mesh's namespace."""
        return [self._placed(resource) for resource in read_manifests(manifest)]

    def _placed(self, checked: Model | Server) -> Resource:
        document, namespace = checked.document, self._connection.namespace
        own = document["metadata"].get("namespace", namespace)
        if own != namespace:
            raise ManifestError(
                f"'{checked.name}' belongs to namespace '{own}', but the mesh is {self}: connect with namespace='{own}'"
            )
        return {**document, "metadata": {**document["metadata"], "namespace": namespace}}

    def _absent(self, kind: str, name: str) -> MeshError:
        return MeshError(
            f"{kind.lower()} '{name}' is not deployed in {self}: apply its manifest first; "
            f"{self._connection.kubectl(f'get {kind.lower()}s')} shows those there"
        )

    def _follow(self, name: str, deadline: float) -> ModelStatus:
        """Follow a model, telling what SC2 says of it, until it is ready or has failed, or until the deadline.

        SC2 does not say which generation of a Model its status is about. A failure that stood there before the last
        change counts as outdated until SC2 writes another.
        """
        outdated, words = self._applied.get(name), ""
        for model in self._cluster.follow("Model", name, deadline=deadline):
            if model is None:
                raise self._absent("Model", name)
            status = ModelStatus.of(model)
            if status.words not in ("", words):
                words = status.words
                report(f"model.mlops.seldon.io/{name} {words}")
            if status.ready or (status.failed and status != outdated):
                return status
        return ModelStatus(ready=False, failed=False, words=words, since="")

    def _await_end(self, kind: str, name: str, uid: str) -> None:
        for state in self._cluster.follow(kind, name, deadline=time.monotonic() + _DELETE_TIMEOUT):
            if state is None or state["metadata"]["uid"] != uid:
                return
        raise MeshError(
            f"{kind.lower()} '{name}' is still there {_DELETE_TIMEOUT:g} s after its deletion, held by a finalizer: "
            f"is Seldon Core 2's operator running? {self._connection.kubectl(f'describe {kind.lower()} {name}')} "
            "shows more"
        )

    def _holder(self, model: Model) -> str:
        """The server that holds a model: the one it names, or the only one that is capable."""
        if model.server:
            return model.server
        capable = [
            str(server["metadata"]["name"])
            for server in self._cluster.list("Server")
            if set(model.requirements) <= set(capabilities(server))
        ]
        if len(capable) == 1:
            return capable[0]
        raise MeshError(
            f"any of {len(capable)} servers could hold model '{model.name}': "
            f"{self._connection.kubectl(f'logs -l {_SERVER_LABEL}=<server> -c mlserver')} shows a server's log"
        )


def _change(before: Resource, after: Resource) -> str:
    """What kubectl says of a change: only what people write counts, and not the status that SC2 writes meanwhile."""
    written = [
        [resource["metadata"].get(key) for key in ("generation", "labels", "annotations")]
        for resource in (before, after)
    ]
    return "unchanged" if written[0] == written[1] else "configured"
