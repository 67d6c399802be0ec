"""The checks of a cluster: the client, the kubeconfig, Seldon Core 2 and its service."""

from __future__ import annotations

from functools import partial

from llm_streaming.connection import open_mesh
from llm_streaming.doctor import Check, Target, version, versions
from llm_streaming.errors import MeshError
from llm_streaming.manifests import API_VERSION
from llm_streaming.mesh.kubernetes.config import find_connection
from llm_streaming.mesh.processes.ports import answers

_PACKAGES = ("kubernetes", "openai", "httpx", "httpx-sse", "grpcio")
_CONNECT_TIMEOUT = 5.0  # seconds


def cluster_checks(namespace: str | None, context: str | None) -> list[Check]:
    """Return the checks of a cluster; each needs the one before."""
    needed_for = frozenset({Target.KUBERNETES})
    return [
        Check("client", _client, needed_for),
        Check("kubeconfig", partial(_kubeconfig, namespace, context), needed_for, after="client"),
        Check("CRDs", partial(_resources, namespace, context), needed_for, after="kubeconfig"),
        Check("service", partial(_service, namespace, context), needed_for, after="CRDs"),
    ]


def _client() -> str:
    if version("kubernetes") is None:
        raise MeshError("kubernetes is not installed: run `make setup`, or `pip install 'llm-streaming[kubernetes]'`")
    return versions(_PACKAGES)


def _kubeconfig(namespace: str | None, context: str | None) -> str:
    return str(find_connection(namespace=namespace, context=context, kubeconfig=None))


def _resources(namespace: str | None, context: str | None) -> str:
    with open_mesh("kubernetes", namespace=namespace, context=context):
        return f"Seldon Core 2 is installed, with Models of {API_VERSION}"


def _service(namespace: str | None, context: str | None) -> str:
    with open_mesh("kubernetes", namespace=namespace, context=context) as mesh:
        host, _, port = mesh.address.rpartition(":")
        if not answers(host.strip("[]"), int(port), timeout=_CONNECT_TIMEOUT):
            raise MeshError(
                f"nothing answers at seldon-mesh's address {mesh.address}: connect this machine to a network that "
                "reaches it, or run `kubectl port-forward svc/seldon-mesh 8080:80` and use localhost:8080"
            )
        return f"seldon-mesh answers at {mesh.address}"
