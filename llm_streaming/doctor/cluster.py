"""Checks of a cluster: the client packages, the kubeconfig, Seldon Core 2 and its service."""

from __future__ import annotations

from llm_streaming.connection import open_mesh
from llm_streaming.doctor import Check, Target, versions
from llm_streaming.errors import MeshError
from llm_streaming.manifests import API_VERSION
from llm_streaming.mesh.base import check_installed
from llm_streaming.mesh.kubernetes.config import find_connection
from llm_streaming.mesh.processes.ports import answers

_PACKAGES = ("kubernetes", "openai", "httpx", "httpx-sse", "grpcio")
_CONNECT_TIMEOUT = 5.0  # seconds


def cluster_checks(namespace: str | None, context: str | None) -> list[Check]:
    """Return the checks of a cluster. Each needs the one before it to succeed."""
    needed_for = frozenset({Target.KUBERNETES})
    options = {"namespace": namespace, "context": context}
    return [
        Check("client", _client, needed_for),
        Check("kubeconfig", lambda: str(find_connection(**options, kubeconfig=None)), needed_for, after="client"),
        Check("CRDs", lambda: _resources(options), needed_for, after="kubeconfig"),
        Check("service", lambda: _service(options), needed_for, after="CRDs"),
    ]


def _client() -> str:
    check_installed("kubernetes", {"kubernetes": "kubernetes"})
    return versions(_PACKAGES)


def _resources(options: dict[str, str | None]) -> str:
    with open_mesh("kubernetes", **options):
        return f"Seldon Core 2 is installed, with Models of {API_VERSION}"


def _service(options: dict[str, str | None]) -> str:
    with open_mesh("kubernetes", **options) as mesh:
        host, _, port = mesh.address.rpartition(":")
        if not answers(host.strip("[]"), int(port), timeout=_CONNECT_TIMEOUT):
            raise MeshError(
                f"nothing answers at seldon-mesh's address {mesh.address}: connect this machine to a network from "
                "which it can be reached, or run `kubectl port-forward svc/seldon-mesh 8080:80` and use localhost:8080"
            )
        return f"seldon-mesh answers at {mesh.address}"
