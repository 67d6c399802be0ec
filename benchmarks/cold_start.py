"""Measures cold starts of a mesh and a model, compared with MLServer alone and the engine alone; `growth` runs it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.deployment import apply, start_mesh
from benchmarks.engine import MODEL, load_engine
from benchmarks.figures import Figure
from benchmarks.harness import RUNNER, Stopwatch, interleave, log
from benchmarks.provider import HOST
from benchmarks.servers import run_server
from llm_streaming.manifests import STREAMING_ENV
from llm_streaming.mesh.processes.ports import free_ports


def measure_cold_starts(rounds: int) -> list[Figure]:
    """Measure how long a mesh with one server takes to start, and a model on this mesh to be ready."""
    log("growth: cold starts")
    starts: dict[str, Callable[[], tuple[float, ...]]] = {"mesh": _start_mesh, "mlserver": _start_mlserver}
    times = interleave(starts, rounds)
    return [
        Figure(
            part="growth",
            what="cold start of a mesh with one server",
            size="1 mesh",
            unit="s",
            values=[mesh for mesh, *_ in times["mesh"]],
            against="MLServer alone",
            references=[alone for (alone,) in times["mlserver"]],
        ),
        Figure(
            part="growth",
            what=f"cold start of {MODEL}",
            size="1 model",
            unit="s",
            values=[model for _, model, _ in times["mesh"]],
            against="the engine loaded in-process",
            references=[engine for *_, engine in times["mesh"]],
        ),
    ]


def _start_mesh() -> tuple[float, ...]:
    """Return the seconds until a mesh is up, until its model is ready, and until this process has loaded the model."""
    with ExitStack() as stack:
        with Stopwatch() as mesh_start:
            mesh = stack.enter_context(start_mesh())
        with Stopwatch() as model_start:
            apply(mesh, MODEL)
        with Stopwatch() as engine_start:
            engine = load_engine()
        RUNNER.run(engine.close())
    return mesh_start.seconds, model_start.seconds, engine_start.seconds


def _start_mlserver() -> tuple[float, ...]:
    """Return the seconds until MLServer is live without a model."""
    http, grpc, metrics = free_ports(3)
    ports = {"HTTP": http, "GRPC": grpc, "METRICS": metrics}
    env = {**os.environ, **STREAMING_ENV, "MLSERVER_HOST": HOST}
    env |= {f"MLSERVER_{name}_PORT": str(port) for name, port in ports.items()}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        command = [sys.executable, "-c", "from mlserver.cli import main; main()", "start", folder]
        server = run_server(command, http, "/v2/health/live", timeout=60, folder=Path(folder), env=env)
        with Stopwatch() as start:
            stack.enter_context(server)
    return (start.seconds,)
