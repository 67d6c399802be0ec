"""A model on vLLM through the mesh, against ``vllm serve`` with the same arguments on the same machine.

It runs in an environment with vLLM: ``.venv-vllm/bin/python -m benchmarks --full --only vllm``, or with the Python of a
machine with GPUs. ``VLLM_BENCHMARK_MODEL`` names another folder in ``models/`` than the one for a CPU.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from benchmarks.deployment import apply, write_server
from benchmarks.harness import ROOT, RUNNER, Figure, Target, count, interleave, say, stopwatch
from benchmarks.load import HOST
from llm_streaming.manifests import Model
from llm_streaming.mesh.embedded.mesh import EmbeddedMesh
from llm_streaming.mesh.processes.ports import free_ports, wait_until

MODEL = os.environ.get("VLLM_BENCHMARK_MODEL", "local-chat-completions-vllm-cpu")
_TEXT = "Does money buy happiness?"
_START_TIMEOUT = 1200.0  # seconds; large models take minutes
_AT_LEAST = Target("ratio", 1.0)
_AT_MOST = Target("ratio", 1.0, at_least=False)


def measure(full: bool) -> list[Figure]:
    """Measure at 1 and 8 streams, both servers side by side and each idle while the other works."""
    figures = []
    # What the Local runtime takes by itself on a small machine without a GPU; both servers inherit it.
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    with _served() as serve, tempfile.TemporaryDirectory() as folder:
        write_server(Path(folder), "local")
        with EmbeddedMesh(servers=Path(folder) / "servers", models=ROOT / "models") as mesh:
            apply(mesh, Model(name=MODEL, storage_uri=f"models/{MODEL}", requirements=("local",)))
            ours = f"http://{mesh.address}/v2/models/{MODEL}/infer_stream"
            for streams in (1, 8):
                say(f"vllm: {count(streams, 'stream')}")
                variants = {
                    "ours": partial(_round, ours, MODEL, streams),
                    "serve": partial(_round, *serve, streams),
                }
                interleave(variants, 2)  # warms up
                figures += _figures(interleave(variants, 11 if full else 5), streams)
    return figures


def _figures(rounds: Mapping[str, list[tuple[float, float]]], streams: int) -> list[Figure]:
    """Tokens of all streams a second, and milliseconds to the first token on average."""
    kinds = (("through the mesh", "tokens/s", _AT_LEAST), ("through the mesh, time to first token", "ms", _AT_MOST))
    return [
        Figure(
            part="vllm",
            what=what,
            size=count(streams, "stream"),
            unit=unit,
            values=[one[index] for one in rounds["ours"]],
            against="vllm serve",
            references=[one[index] for one in rounds["serve"]],
            target=target,
        )
        for index, (what, unit, target) in enumerate(kinds)
    ]


def _round(base_url: str, model: str, streams: int) -> tuple[float, float]:
    """Read a number of streams with OpenAI's client; the same client and the same request for both servers."""

    async def read(client: AsyncOpenAI) -> tuple[int, float]:
        with stopwatch() as seconds:
            chunks = await client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": _TEXT}],
                stream=True,
                stream_options={"include_usage": True},
                temperature=0,
                max_tokens=64,
                extra_body={"ignore_eos": True},
            )
            await _first_text(chunks)
        usage = [chunk.usage async for chunk in chunks][-1]
        if usage is None:
            raise RuntimeError("the stream ended without its usage")
        return usage.completion_tokens, seconds[0] * 1e3

    async def read_all() -> list[tuple[int, float]]:
        async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(read(client) for _ in range(streams)))

    with stopwatch() as seconds:
        answers = RUNNER.run(read_all())
    tokens, first_tokens = zip(*answers, strict=True)
    return sum(tokens) / seconds[0], sum(first_tokens) / streams


async def _first_text(chunks: AsyncIterator[Any]) -> None:
    """Read up to the first chunk with a text."""
    async for chunk in chunks:
        if chunk.choices and chunk.choices[0].delta.content:
            return


@contextmanager
def _served() -> Iterator[tuple[str, str]]:
    """Run ``vllm serve`` with the arguments of the model's settings; yields where its API is, and its model's name.

    Raises:
        RuntimeError: it does not start.
    """
    found = json.loads((ROOT / "models" / MODEL / "model-settings.json").read_text())
    given = found["parameters"]["extra"]["config"]["model_settings"]
    arguments = {name: value for name, value in given.items() if name not in ("model", "default_generate_kwargs")}
    folder = ROOT / "models" / MODEL / given["model"]
    (port,) = free_ports(1)
    flags = [word for name, value in arguments.items() for word in _flag(name.replace("_", "-"), value)]
    model = str(folder) if folder.exists() else given["model"]
    # Not the command: it asks for the version of a package called vllm, and the one for CPUs has another name.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--host", HOST, "--port", str(port), "--served-model-name", "served", *flags],
            stdout=log,
            stderr=log,
        )
        try:
            wait_until(lambda: _is_up(port) or process.poll() is not None, timeout=_START_TIMEOUT, interval=1)
            if not _is_up(port):
                log.seek(0)
                raise RuntimeError(f"vllm serve is not up:\n{log.read().decode(errors='replace')[-2000:]}")
            yield f"http://{HOST}:{port}/v1", "served"
        finally:
            process.terminate()
            process.wait()


def _flag(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{name}"]
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}"]


def _is_up(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
