"""A server's ``/metrics``, read from a notebook."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Iterator
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from llm_streaming.errors import MeshError


class Metrics:
    r"""What a server has counted up to a moment.

    Args:
        text: its ``/metrics``, in Prometheus' text format.
        taken: that moment, in seconds of `time.perf_counter`.

    Raises:
        MeshError: the text is not in that format.

    Example:
        >>> Metrics('calls_total{path="a"} 2\ncalls_total{path="b"} 1', 0.0).by("calls_total", "path")
        {'a': 2.0, 'b': 1.0}
    """

    def __init__(self, text: str, taken: float) -> None:
        self.taken = taken
        try:
            self._samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        except ValueError as error:
            raise MeshError(f"this is no page of metrics in Prometheus' format: {error}") from None

    def total(self, name: str, **labels: str) -> float:
        """The sum of all samples with a name and these labels; 0 where there is none: nothing was counted yet."""
        return sum(value for _, value in self._find(name, labels))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The same sum for each value of one more label, in the order of the page."""
        sums: dict[str, float] = {}
        for found, value in self._find(name, labels):
            if label in found:
                sums[found[label]] = sums.get(found[label], 0.0) + value
        return sums

    def _find(self, name: str, labels: dict[str, str]) -> Iterator[tuple[dict[str, str], float]]:
        for sample in self._samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                yield sample.labels, sample.value


async def read_metrics(address: str) -> Metrics:
    """Read a server's metrics.

    Args:
        address: ``host:port``, from the mesh's ``metrics_address``.

    Raises:
        MeshError: nobody answers there, or with something else.
    """
    try:
        async with httpx.AsyncClient() as client:
            response = await client.get(f"http://{address}/metrics")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise MeshError(f"cannot read the metrics at {address}: {error}") from None
    if response.is_error:
        raise MeshError(f"cannot read the metrics at {address}: it answers {response.status_code}")
    return Metrics(response.text, time.perf_counter())


async def watch(address: str, load: Awaitable[Any], interval: float = 0.5) -> AsyncGenerator[Metrics, None]:
    """Run a load, and yield a server's metrics while it does and once more when it is done.

    Args:
        address: as in `read_metrics`.
        load: what to run; it is cancelled when the reader of the metrics leaves.
        interval: seconds between two readings.

    Raises:
        MeshError: the metrics cannot be read.
        Exception: whatever the load raises.
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
