"""What there is to look at on a cluster."""

from __future__ import annotations

from llm_streaming.connection import open_mesh
from llm_streaming.doctor.check import Check, Target, version, versions
from llm_streaming.errors import MeshError
from llm_streaming.manifests import API_VERSION
from llm_streaming.mesh.kubernetes.config import find_connection
from llm_streaming.mesh.processes.ports import answers

_PACKAGES = ("kubernetes", "openai", "httpx", "httpx-sse", "grpcio")
_CONNECT_TIMEOUT = 5.0  # seconds


def cluster_checks(namespace: str | None, context: str | None) -> list[Check]:
    """The checks of a cluster, each of which needs what the one before has found."""

    def kubeconfig() -> str:
        return str(find_connection(namespace=namespace, context=context, kubeconfig=None))

    def resources() -> str:
        with open_mesh("kubernetes", namespace=namespace, context=context):
            return f"Seldon Core 2 is there, with Models of {API_VERSION}"

    def service() -> str:
        with open_mesh("kubernetes", namespace=namespace, context=context) as mesh:
            _check_answers(mesh.address)
            return f"seldon-mesh answers at {mesh.address}"

    there = frozenset({Target.KUBERNETES})
    return [
        Check("client", _client, there),
        Check("kubeconfig", kubeconfig, there, after="client"),
        Check("CRDs", resources, there, after="kubeconfig"),
        Check("service", service, there, after="CRDs"),
    ]


def _client() -> str:
    if version("kubernetes") is None:
        raise MeshError("kubernetes is not installed: run `make setup`, or `pip install 'llm-streaming[kubernetes]'`")
    return versions(_PACKAGES)


def _check_answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not answers(host.strip("[]"), int(port), timeout=_CONNECT_TIMEOUT):
        raise MeshError(
            f"nobody answers at seldon-mesh's address {address}: is this machine in a network that reaches it? "
            "`kubectl port-forward svc/seldon-mesh 8080:80` leads there too"
        )
