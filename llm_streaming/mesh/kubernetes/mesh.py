"""The mesh on a cluster, which deploys Models on Seldon Core 2 (SC2)."""

from __future__ import annotations

import time

from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Manifest, Model, Server, capabilities, read_manifests
from llm_streaming.mesh.base import Mesh
from llm_streaming.mesh.kubernetes.address import find_address
from llm_streaming.mesh.kubernetes.api import Cluster, Resource
from llm_streaming.mesh.kubernetes.config import find_connection
from llm_streaming.mesh.kubernetes.port_forward import PortForwards
from llm_streaming.mesh.progress import ModelStatus, qualified, report

_DELETE_TIMEOUT = 300.0  # seconds; a few are usual
_METRICS_PORT = 8082  # MLServer's port; SC2's agent serves metrics on 9006, but not those of the runtimes
_SERVER_LABEL = "seldon-server-name"  # the label of a Server's pods (SeldonIO/seldon-core, operator/pkg/constants)


class KubernetesMesh(Mesh):
    """Seldon Core 2 on the Kubernetes cluster that kubectl would use. Closing the mesh does not remove models.

    Args:
        namespace: the namespace of SC2; by default ``SELDON_NAMESPACE``, then the context's, then ``seldon``.
        context: the kubeconfig's context; by default the current one.
        kubeconfig: the kubeconfig file; by default the files in ``KUBECONFIG``, then ``~/.kube/config``. If there is
            no such file, a pod uses its service account.

    Raises:
        MeshError: no cluster is configured, or it cannot be reached, rejects the credentials or has no SC2.
    """

    def __init__(
        self, *, namespace: str | None = None, context: str | None = None, kubeconfig: str | None = None
    ) -> None:
        self._connection = find_connection(namespace=namespace, context=context, kubeconfig=kubeconfig)
        self._cluster = Cluster(self._connection)
        self._forwards = PortForwards(self._connection)
        self._address: str | None = None
        self._applied: dict[str, ModelStatus | None] = {}  # each model's status before its last change
        self._closed = False

    def __str__(self) -> str:
        return str(self._connection)

    @property
    def closed(self) -> bool:
        """Whether the mesh was closed."""
        return self._closed

    @property
    def address(self) -> str:
        """``host:port`` of the HTTP endpoint, which is looked up on first use.

        Raises:
            MeshError: the mesh has no address, or the address cannot be used yet.
        """
        self._check()
        if self._address is None or self._forwards.lost():
            self._address = find_address(self._cluster, self._forwards)
        return self._address

    def metrics_address(self, server: str) -> str:
        """Open a port-forward to the metrics port of a server's first replica, and return its ``host:port``.

        Raises:
            MeshError: the cluster has no server of this name, or the server cannot be reached.
        """
        self._get("Server", server)
        return self._forwards.open(f"pod/{server}-0", _METRICS_PORT)

    def apply(self, manifest: Manifest) -> None:
        """Deploy the Models and Servers in a manifest, without waiting until they are ready.

        Raises:
            ManifestError: the manifest cannot be used.
            MeshError: the cluster rejects the manifest, forbids the request, or cannot be reached.
        """
        self._check()
        for resource in self._read(manifest):
            kind, name = resource.kind, resource.name
            before = self._cluster.get(kind, name)
            after = self._cluster.apply(resource.document)
            result = "created" if before is None else _change(before, after)
            if kind == Model.kind and (result != "unchanged" or name not in self._applied):
                self._applied[name] = ModelStatus.of(before) if before and result == "configured" else None
            report(f"{qualified(kind)}/{name} {result}")

    def wait(self, *names: str, timeout: float = 600) -> None:
        """Wait until the named models are ready, by default all applied here, for at most `timeout` seconds.

        Raises:
            MeshError: a model is not deployed, has failed (it stays on the cluster), or is not ready in time.
        """
        self._check()
        deadline = time.monotonic() + timeout
        for name in names or list(self._applied):
            status = self._follow(name, deadline)
            more = f"{self._connection.kubectl(f'describe model {name}')} shows more"
            if status.failed:
                raise MeshError(f"model '{name}' has failed ({status.words}) and stays on the cluster: {more}")
            if not status.ready:
                words = f" ({status.words})" if status.words else ""
                raise MeshError(f"model '{name}' is not ready after {timeout:g} s{words}: wait longer; {more}")
            report(f"model.mlops.seldon.io/{name} condition met")

    def delete(self, manifest: Manifest) -> None:
        """Remove the Models and Servers in a manifest, and wait until they are gone.

        Raises:
            ManifestError: the manifest cannot be used.
            MeshError: a resource is not deployed or not gone in time, or the cluster forbids this or is unreachable.
        """
        self._check()
        for resource in self._read(manifest):
            kind, name = resource.kind, resource.name
            uid = self._cluster.delete(kind, name)
            if uid is None:
                raise self._absent(kind, name)
            self._wait_until_gone(kind, name, uid)
            if kind == Model.kind:
                self._applied.pop(name, None)
            report(f'{qualified(kind)} "{name}" deleted')

    def resources(self, kind: str) -> list[Resource]:
        """Return the Models or Servers in the mesh's namespace.

        Raises:
            MeshError: the cluster forbids the request or cannot be reached.
        """
        self._check()
        return self._cluster.list(kind)

    def logs(self, model: str) -> str:
        """Return the logs of all replicas of the server on which a model runs.

        Raises:
            MeshError: the model is not deployed, or it is unclear on which server it runs.
        """
        found = Model.from_dict(self._get("Model", model))
        label = f"{_SERVER_LABEL}={self._server_of(found)}"
        pods = self._cluster.list("Pod", labels=label)
        return "\n".join(self._cluster.log(pod["metadata"]["name"], "mlserver") for pod in pods)

    def close(self) -> None:
        """Stop the port-forwards on this machine. May be called several times."""
        self._closed = True
        self._forwards.close()

    def _check(self) -> None:
        if self._closed:
            raise MeshError("the mesh is closed: connect again")

    def _read(self, manifest: Manifest) -> list[Model | Server]:
        """Read a manifest, and check that its resources belong to the mesh's namespace."""
        resources = read_manifests(manifest)
        for resource in resources:
            own = resource.document["metadata"].get("namespace", self._connection.namespace)
            if own != self._connection.namespace:
                raise ManifestError(
                    f"'{resource.name}' belongs to namespace '{own}', but the mesh uses {self}: connect with "
                    f"namespace='{own}'"
                )
        return resources

    def _get(self, kind: str, name: str) -> Resource:
        self._check()
        found = self._cluster.get(kind, name)
        if found is None:
            raise self._absent(kind, name)
        return found

    def _absent(self, kind: str, name: str) -> MeshError:
        return MeshError(
            f"{kind.lower()} '{name}' is not deployed in {self}: apply its manifest first; "
            f"{self._connection.kubectl(f'get {kind.lower()}s')} lists those that are"
        )

    def _follow(self, name: str, deadline: float) -> ModelStatus:
        """Follow a model and report its status, until it is ready or has failed, or until the deadline.

        SC2 does not say which generation of a Model a status describes. So a failure from before the last change is
        ignored until SC2 writes another status.
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

    def _wait_until_gone(self, kind: str, name: str, uid: str) -> None:
        for state in self._cluster.follow(kind, name, deadline=time.monotonic() + _DELETE_TIMEOUT):
            if state is None or state["metadata"]["uid"] != uid:
                return
        raise MeshError(
            f"{kind.lower()} '{name}' still exists {_DELETE_TIMEOUT:g} s after the request to delete it, because of a "
            "finalizer: check that Seldon Core 2's operator is running; "
            f"{self._connection.kubectl(f'describe {kind.lower()} {name}')} shows more"
        )

    def _server_of(self, model: Model) -> str:
        """Return the server of a model: the one in its manifest, or the only one that meets its requirements."""
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
            f"it is unclear which of {len(capable)} servers runs model '{model.name}': to see the log of one, run "
            f"{self._connection.kubectl(f'logs -l {_SERVER_LABEL}=<server> -c mlserver')}"
        )


def _change(before: Resource, after: Resource) -> str:
    """Return kubectl's word for a change. Ignore the status, because SC2 may change it at any time."""
    keys = ("generation", "labels", "annotations")
    same = all(before["metadata"].get(key) == after["metadata"].get(key) for key in keys)
    return "unchanged" if same else "configured"
