"""The processes that are measured: a provider, and a mesh with our relay and the references in a server each."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import ROOT
from benchmarks.load import HOST, MODEL
from llm_streaming.manifests import STREAMING_ENV, Model, Server, to_yaml
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh

OURS = "ours"
"""The server that holds nothing but our relay, which is called as the readers call every model."""

REFERENCES = "references"
"""The server that holds the models of `benchmarks.obvious`: nothing of ours can change what MLServer does there."""


@dataclass(frozen=True)
class Deployed:
    """Where everything is.

    Args:
        mesh: the mesh; its one port stands for HTTP and gRPC.
        provider: the provider's port.
    """

    mesh: EmbeddedMesh
    provider: int

    @property
    def mesh_port(self) -> int:
        """Where Envoy listens."""
        return int(self.mesh.address.rpartition(":")[2])

    def ports(self, server: str) -> tuple[int, int]:
        """HTTP and gRPC port of an MLServer, without Envoy before it."""
        http, grpc, _ = self.mesh._stack.mlservers[server].ports
        return http, grpc

    def process(self, server: str) -> psutil.Process:
        """The process of an MLServer."""
        repository = str(self.mesh._stack.mlservers[server].repository)
        return next(one for one in psutil.Process().children(recursive=True) if one.cmdline()[-1:] == [repository])


@contextmanager
def deployed() -> Iterator[Deployed]:
    """Start the provider and the mesh and deploy the models."""
    with listening("benchmarks.provider") as provider, tempfile.TemporaryDirectory() as folder:
        base_url = f"http://{HOST}:{provider}/v1"
        config = {"model_id": "benchmark", "base_url": base_url}
        _write_settings(Path(folder), MODEL, "mlserver_llm_api.LLMRuntime", config=config)
        _write_settings(Path(folder), "obvious", "benchmarks.obvious.Obvious", base_url=base_url)
        _write_settings(Path(folder), "stock", "benchmarks.obvious.Stock")
        write_server(Path(folder), OURS)
        write_server(Path(folder), REFERENCES, PYTHONPATH=str(ROOT))
        with EmbeddedMesh(servers=Path(folder) / "servers", models=Path(folder) / "models") as mesh:
            for model, server in ((MODEL, OURS), ("obvious", REFERENCES), ("stock", REFERENCES)):
                apply(mesh, Model(name=model, storage_uri=f"models/{model}", requirements=(server,)))
            yield Deployed(mesh, provider)


def apply(mesh: EmbeddedMesh, model: Model) -> None:
    """Deploy a model and wait for it, without a word."""
    with contextlib.redirect_stdout(io.StringIO()):
        mesh.apply(model.as_dict())
        mesh.wait(model.name)


@contextmanager
def listening(module: str) -> Iterator[int]:
    """Run a module that prints its port, until the block ends."""
    process = subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def write_server(folder: Path, name: str, **env: str) -> None:
    """Write the manifest of a server that is capable of its own name."""
    server = Server(name=name, capabilities=(name,), env={**STREAMING_ENV, **env})
    (folder / "servers").mkdir(exist_ok=True)
    (folder / "servers" / f"{name}.yaml").write_text(to_yaml(server.as_dict()))


def _write_settings(folder: Path, name: str, implementation: str, **extra: Any) -> None:  # noqa: ANN401 - JSON
    settings = {"implementation": implementation, "parameters": {"extra": extra}}
    target = folder / "models" / name
    target.mkdir(parents=True)
    (target / "model-settings.json").write_text(json.dumps(settings))
