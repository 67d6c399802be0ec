"""Manifests, conditions and fixtures for tests of the mesh on a cluster, with a small API server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llm_streaming.connection
from llm_streaming.errors import MeshError
from llm_streaming.mesh.kubernetes.mesh import KubernetesMesh
from tests.support.api_server import TOKEN, ApiServer

READY = [{"type": "ModelReady", "status": "True"}, {"type": "Ready", "status": "True"}]
HERE = "namespace 'seldon' of context 'test'"


def model(name: str = "m", **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "mlops.seldon.io/v1alpha1",
        "kind": "Model",
        "metadata": {"name": name},
        "spec": {"storageUri": "gs://bucket/m", "requirements": ["openai"], **spec},
    }


def server(name: str, *capabilities: str) -> dict[str, object]:
    spec = {"serverConfig": "mlserver", "capabilities": list(capabilities)}
    return {"apiVersion": "mlops.seldon.io/v1alpha1", "kind": "Server", "metadata": {"name": name}, "spec": spec}


def unmet(message: str, reason: str, status: str = "False") -> list[dict[str, str]]:
    """SC2's conditions, with the state as message and the explanation as reason."""
    said = {"status": status, "message": message, "reason": reason}
    return [{"type": "ModelReady", **said}, {"type": "Ready", **said}]


def shows(command: str) -> str:
    return f"`kubectl {command} -n seldon --context test`"


def service(port: int = 80, **parts: object) -> dict[str, object]:
    ports = [{"name": "http", "port": port, "nodePort": 30080}]
    spec = {"type": "LoadBalancer", "clusterIP": "10.0.0.7", "ports": ports}
    return {"spec": spec | parts.pop("spec", {}), **parts}  # type: ignore[operator]


def balanced(port: int = 80, **ingress: str) -> dict[str, object]:
    return service(port, status={"loadBalancer": {"ingress": [ingress]}})


def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server, and a kubeconfig for it in the environment."""
    monkeypatch.setattr(llm_streaming.connection, "open_meshes", [])
    monkeypatch.delenv("SELDON_NAMESPACE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with ApiServer() as server:
        monkeypatch.setenv("KUBECONFIG", server.write_kubeconfig(tmp_path / "config"))
        yield server


def kubernetes_mesh(api: ApiServer) -> Iterator[KubernetesMesh]:
    with KubernetesMesh() as mesh:
        yield mesh


def failure(call: Callable[..., object], *arguments: object, **options: object) -> str:
    with pytest.raises(MeshError) as caught:
        call(*arguments, **options)
    assert TOKEN not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)
