"""Measures vLLM's speed through the mesh, compared with ``vllm serve`` with the same arguments on the same machine.

The measurement needs an environment with vLLM: ``.venv-vllm/bin/python -m benchmarks --full --only vllm``, or the
Python of a machine with GPUs. ``VLLM_BENCHMARK_MODEL`` names a folder in ``models/``, by default the CPU model's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from openai import AsyncOpenAI

from benchmarks.deployment import apply, model_settings, start_mesh
from benchmarks.figures import Figure, Target, count
from benchmarks.harness import ROOT, RUNNER, Stopwatch, interleave, log
from benchmarks.model_speed import QUESTION, Speed, speed_figures
from benchmarks.provider import HOST
from benchmarks.servers import run_server
from llm_streaming.mesh.processes.ports import free_ports

MODEL = os.environ.get("VLLM_BENCHMARK_MODEL", "local-chat-completions-vllm-cpu")
_START_TIMEOUT = 1200.0  # seconds; large models take minutes


def measure(full: bool) -> list[Figure]:
    """Measure 1 and 8 streams; both servers run all the time, but only one of them is busy at a time."""
    figures = []
    # The Local runtime sets these values on a small machine without a GPU; set them here for both servers.
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    with _vllm_serve() as serve, start_mesh() as mesh:
        apply(mesh, MODEL)
        ours = f"http://{mesh.address}/v2/models/{MODEL}/infer_stream"
        for streams in (1, 8):
            log(f"vllm: {count(streams, 'stream')}")
            variants = {"mesh": partial(_speed, ours, MODEL, streams), "serve": partial(_speed, *serve, streams)}
            interleave(variants, 2)  # to warm up
            speeds = interleave(variants, 11 if full else 5)
            figures += speed_figures(
                "vllm",
                streams,
                speeds["mesh"],
                "vllm serve",
                speeds["serve"],
                tokens_target=Target("ratio", 1.0),
                first_token_target=Target("ratio", 1.0, at_least=False),
            )
    return figures


def _speed(base_url: str, model: str, streams: int) -> Speed:
    """Read streams with OpenAI's client, which sends both servers the same requests."""

    async def read(client: AsyncOpenAI) -> tuple[int, float]:
        with Stopwatch() as first_token:
            chunks = await client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": QUESTION}],
                stream=True,
                stream_options={"include_usage": True},
                temperature=0,
                max_tokens=64,
                extra_body={"ignore_eos": True},
            )
            await _read_first_text(chunks)
        usage = [chunk.usage async for chunk in chunks][-1]
        if usage is None:
            raise RuntimeError("the stream ended without its usage")
        return usage.completion_tokens, first_token.seconds * 1e3

    async def read_all() -> list[tuple[int, float]]:
        async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(read(client) for _ in range(streams)))

    with Stopwatch() as watch:
        answers = RUNNER.run(read_all())
    tokens, first_tokens = zip(*answers, strict=True)
    return Speed(sum(tokens) / watch.seconds, sum(first_tokens) / streams)


async def _read_first_text(chunks: AsyncIterator[Any]) -> None:
    """Read up to the first chunk with text."""
    async for chunk in chunks:
        if chunk.choices and chunk.choices[0].delta.content:
            return


@contextmanager
def _vllm_serve() -> Iterator[tuple[str, str]]:
    """Run ``vllm serve`` with the arguments in the model's settings.

    Yields:
        The base URL of its API and the name of its model.

    Raises:
        RuntimeError: the server did not start.
    """
    settings = model_settings(MODEL)
    folder = ROOT / "models" / MODEL / settings["model"]
    model = str(folder) if folder.exists() else settings["model"]
    arguments = {name: value for name, value in settings.items() if name not in ("model", "default_generate_kwargs")}
    flags = [flag for name, value in arguments.items() for flag in _flags(name.replace("_", "-"), value)]
    (port,) = free_ports(1)
    # The command ``vllm`` itself cannot be used: it fails without a package named vllm, and the CPU build is vllm-cpu.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--host", HOST]
    command += ["--port", str(port), "--served-model-name", "served", *flags]
    with run_server(command, port, "/health", timeout=_START_TIMEOUT):
        yield f"http://{HOST}:{port}/v1", "served"


def _flags(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{name}"]
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}"]
