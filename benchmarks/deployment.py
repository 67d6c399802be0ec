"""Starts a provider, and a mesh with one server for our relay and one server for the reference models."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import ROOT
from benchmarks.provider import HOST, MODEL
from benchmarks.servers import run_module
from llm_streaming.manifests import STREAMING_ENV, Model, Server, to_yaml
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh

OURS = "ours"
"""The name of the server that runs only our relay."""

REFERENCES = "references"
"""The name of the server that runs the models of `benchmarks.reference_models`; our relay does not run there."""

PROVIDER = "the provider read directly"
"""The name of the provider in figures, as the reference for a relay."""

NAIVE = "a naive runtime"
"""The name of `benchmarks.reference_models.NaiveRelay` in figures."""


@dataclass(frozen=True)
class Deployment:
    """A provider and a mesh that are running.

    Args:
        mesh: the mesh.
        provider: the port of the provider.
    """

    mesh: EmbeddedMesh
    provider: int

    @property
    def mesh_port(self) -> int:
        """The port of the mesh's Envoy."""
        return port_of(self.mesh)

    def sockets(self, server: str) -> tuple[Path, Path]:
        """Return the HTTP socket and the gRPC socket of an MLServer, to which Envoy forwards requests."""
        mlserver = self.mesh.mlserver(server)
        return mlserver.socket("http"), mlserver.socket("grpc:0")

    def process(self, server: str) -> psutil.Process:
        """Return the process of an MLServer."""
        repository = str(self.mesh.mlserver(server).repository)
        return next(one for one in psutil.Process().children(recursive=True) if one.cmdline()[-1:] == [repository])


def port_of(mesh: EmbeddedMesh) -> int:
    """Return the port of a mesh's Envoy, for HTTP and gRPC."""
    return int(mesh.address.rpartition(":")[2])


@contextmanager
def deploy() -> Iterator[Deployment]:
    """Start the provider and the mesh, and deploy our relay and the reference models."""
    with run_module("benchmarks.provider") as provider, tempfile.TemporaryDirectory() as folder:
        base_url = f"http://{HOST}:{provider}/v1"
        config = {"model_id": MODEL, "base_url": base_url}
        _write_settings(Path(folder), MODEL, "mlserver_llm_api.LLMRuntime", config=config)
        _write_settings(Path(folder), "naive", "benchmarks.reference_models.NaiveRelay", base_url=base_url)
        _write_settings(Path(folder), "stock", "benchmarks.reference_models.StockConversion")
        write_server(Path(folder), OURS)
        write_server(Path(folder), REFERENCES, PYTHONPATH=str(ROOT))
        with EmbeddedMesh(servers=Path(folder) / "servers", models=Path(folder) / "models") as mesh:
            for model, server in ((MODEL, OURS), ("naive", REFERENCES), ("stock", REFERENCES)):
                apply(mesh, model, server)
            yield Deployment(mesh, provider)


@contextmanager
def start_mesh() -> Iterator[EmbeddedMesh]:
    """Start a mesh with one server, ``local``, for the project's own models."""
    with tempfile.TemporaryDirectory() as folder:
        write_server(Path(folder), "local")
        with EmbeddedMesh(servers=Path(folder) / "servers", models=ROOT / "models") as mesh:
            yield mesh


def apply(mesh: EmbeddedMesh, model: str, server: str = "local") -> None:
    """Deploy a model on a server and wait until it is ready; the mesh's progress messages are not printed."""
    with contextlib.redirect_stdout(io.StringIO()):
        mesh.apply(Model(name=model, storage_uri=f"models/{model}", requirements=(server,)).as_dict())
        mesh.wait(model)


def model_settings(model: str) -> dict[str, Any]:
    """Return the engine settings of one of the project's own models."""
    settings = json.loads((ROOT / "models" / model / "model-settings.json").read_text())
    return dict(settings["parameters"]["extra"]["config"]["model_settings"])


def write_server(folder: Path, name: str, **env: str) -> None:
    """Write the manifest of a server whose only capability is the server's name."""
    server = Server(name=name, capabilities=(name,), env={**STREAMING_ENV, **env})
    (folder / "servers").mkdir(exist_ok=True)
    (folder / "servers" / f"{name}.yaml").write_text(to_yaml(server.as_dict()))


def _write_settings(folder: Path, name: str, implementation: str, **extra: Any) -> None:  # noqa: ANN401 - JSON
    settings = {"implementation": implementation, "parameters": {"extra": extra}}
    model = folder / "models" / name
    model.mkdir(parents=True)
    (model / "model-settings.json").write_text(json.dumps(settings))
