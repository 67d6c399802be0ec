"""Reads a server's ``/metrics`` in a notebook."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from llm_streaming.errors import MeshError


class Metrics:
    r"""The metrics of a server at one moment.

    Args:
        text: the response of ``/metrics``, in Prometheus' text format.
        taken: when the metrics were read, in seconds of `time.perf_counter`.

    Raises:
        MeshError: the text is not in Prometheus' text format.

    Example:
        >>> Metrics('calls_total{path="a"} 2\ncalls_total{path="b"} 1', 0.0).by("calls_total", "path")
        {'a': 2.0, 'b': 1.0}
    """

    def __init__(self, text: str, taken: float) -> None:
        self.taken = taken
        try:
            self._samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        except ValueError as error:
            raise MeshError(f"these metrics are not in Prometheus' text format: {error}") from None

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all samples with this name and these labels; 0 if there are none yet."""
        return sum(sample.value for sample in self._find(name, labels))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Return the sum for each value of `label`, filtered as in `total`, in the server's order."""
        sums: defaultdict[str, float] = defaultdict(float)
        for sample in self._find(name, labels):
            if label in sample.labels:
                sums[sample.labels[label]] += sample.value
        return dict(sums)

    def _find(self, name: str, labels: dict[str, str]) -> list[Sample]:
        return [each for each in self._samples if each.name == name and labels.items() <= each.labels.items()]


async def read_metrics(address: str) -> Metrics:
    """Read a server's metrics.

    Args:
        address: ``host:port``, from the mesh's ``metrics_address``.

    Raises:
        MeshError: no server answers at the address, or its response is not metrics.
    """
    try:
        async with httpx.AsyncClient() as client:
            response = await client.get(f"http://{address}/metrics")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise MeshError(f"cannot read the metrics at {address}: {error}") from None
    if response.is_error:
        raise MeshError(f"cannot read the metrics at {address}: the server answers {response.status_code}")
    return Metrics(response.text, time.perf_counter())


async def watch(address: str, load: Awaitable[Any], interval: float = 0.5) -> AsyncGenerator[Metrics, None]:
    """Run a load, and yield a server's metrics repeatedly while the load runs and once after its end.

    Args:
        address: ``host:port``, from the mesh's ``metrics_address``.
        load: the load to run; closing the generator early cancels the load.
        interval: seconds between two readings.

    Raises:
        MeshError: the metrics cannot be read.
        Exception: any exception that the load raises.
    """
    running = asyncio.ensure_future(load)
    try:
        while not running.done():
            yield await read_metrics(address)
            await asyncio.wait([running], timeout=interval)
        await running
        yield await read_metrics(address)
    finally:
        running.cancel()
