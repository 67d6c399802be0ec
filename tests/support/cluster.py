"""Manifests, conditions and fixtures for tests of the mesh on a cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llm_streaming.connection
from llm_streaming.errors import MeshError
from llm_streaming.mesh.kubernetes.mesh import KubernetesMesh
from tests.support.api_server import TOKEN, ApiServer

READY = [{"type": "ModelReady", "status": "True"}, {"type": "Ready", "status": "True"}]
HERE = "namespace 'seldon' of context 'test'"


def model(name: str = "m", **spec: Any) -> dict[str, Any]:
    """Return the manifest of a Model."""
    return {
        "apiVersion": "mlops.seldon.io/v1alpha1",
        "kind": "Model",
        "metadata": {"name": name},
        "spec": {"storageUri": "gs://bucket/m", "requirements": ["openai"], **spec},
    }


def server(name: str, *capabilities: str) -> dict[str, Any]:
    """Return the manifest of a Server."""
    spec = {"serverConfig": "mlserver", "capabilities": list(capabilities)}
    return {"apiVersion": "mlops.seldon.io/v1alpha1", "kind": "Server", "metadata": {"name": name}, "spec": spec}


def unmet(message: str, reason: str, status: str = "False") -> list[dict[str, str]]:
    """Return the conditions of a Model that is not ready; SC2 writes the state as message and the cause as reason."""
    shared = {"status": status, "message": message, "reason": reason}
    return [{"type": "ModelReady", **shared}, {"type": "Ready", **shared}]


def shows(command: str) -> str:
    """Return a kubectl command as messages of the Kubernetes mesh quote it."""
    return f"`kubectl {command} -n seldon --context test`"


def service(port: int = 80, *, spec: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """Return the service of a mesh, which has no address yet."""
    ports = [{"name": "http", "port": port, "nodePort": 30080}]
    default = {"type": "LoadBalancer", "clusterIP": "10.0.0.7", "ports": ports}
    return {"spec": default | (spec or {}), **parts}


def balanced(port: int = 80, **ingress: str) -> dict[str, Any]:
    """Return the service of a mesh with the address of its load balancer."""
    return service(port, status={"loadBalancer": {"ingress": [ingress]}})


def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """Run an API server, with a kubeconfig for it in the environment. Tests make a fixture of this function."""
    monkeypatch.setattr(llm_streaming.connection, "open_meshes", [])
    monkeypatch.delenv("SELDON_NAMESPACE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with ApiServer() as server:
        monkeypatch.setenv("KUBECONFIG", server.write_kubeconfig(tmp_path / "config"))
        yield server


def kubernetes_mesh(api: ApiServer) -> Iterator[KubernetesMesh]:
    """Open a mesh on the API server. Tests make a fixture of this function."""
    with KubernetesMesh() as mesh:
        yield mesh


def failure(call: Callable[..., object], *arguments: object, **options: object) -> str:
    """Return the message of the MeshError that a call raises; it shows no credentials and no other exception."""
    with pytest.raises(MeshError) as caught:
        call(*arguments, **options)
    assert TOKEN not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)
