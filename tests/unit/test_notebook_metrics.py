"""Reading a server's metrics in a notebook."""

import asyncio

import pytest

from llm_streaming.errors import MeshError
from llm_streaming.notebook.metrics import Metrics, read_metrics, watch

PAGE = """\
# TYPE requests histogram
requests_bucket{model="a",error="",le="1.0"} 2
requests_bucket{model="a",error="",le="+Inf"} 3
requests_count{model="a",error=""} 3
requests_sum{model="a",error=""} 4.5
requests_count{model="a",error="cancelled"} 1
requests_count{model="b",error=""} 7
# TYPE active gauge
active{model="a"} 2
"""


class Server:
    """A server whose metrics say how often they were read; `answer` is its status line."""

    def __init__(self, answer: str = "HTTP/1.1 200 OK") -> None:
        self.answer = answer
        self.read = 0

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.read += 1
        writer.write(f"{self.answer}\r\nConnection: close\r\n\r\nread_total {self.read}\n".encode())
        await writer.drain()
        writer.close()


def test_samples_are_summed_by_the_labels_that_are_named() -> None:
    metrics = Metrics(PAGE, 0.0)
    assert metrics.total("requests_count") == 11
    assert metrics.total("requests_count", model="a") == 4
    assert metrics.total("requests_count", model="a", error="cancelled") == 1
    assert metrics.total("requests_count", model="c") == 0
    assert metrics.by("requests_count", "error", model="a") == {"": 3, "cancelled": 1}
    assert metrics.by("requests_bucket", "le") == {"1.0": 2, "+Inf": 3}
    assert metrics.by("active", "error") == {}


def test_a_page_without_metrics_is_refused() -> None:
    with pytest.raises(MeshError, match=r"^these metrics are not in Prometheus' text format: "):
        Metrics("<html>\n", 0.0)


async def test_metrics_are_read_while_a_load_runs_and_once_after_it() -> None:
    done = asyncio.Event()
    async with Server() as address:
        found = []
        async for metrics in watch(address, done.wait(), interval=0.001):
            found.append(metrics.total("read_total"))
            if len(found) == 3:
                done.set()
    assert found == [1, 2, 3, 4]


async def test_a_load_ends_with_the_reading_of_metrics() -> None:
    load = asyncio.ensure_future(asyncio.Event().wait())
    async with Server() as address:
        watching = watch(address, load, interval=0.001)
        await anext(watching)
        await watching.aclose()
        with pytest.raises(asyncio.CancelledError):
            await load


async def test_an_exception_of_the_load_is_raised() -> None:
    async def fail() -> None:
        raise LookupError("the load")

    async with Server() as address:
        with pytest.raises(LookupError, match="the load"):
            [metrics async for metrics in watch(address, fail(), interval=0.001)]


async def test_a_server_that_refuses_is_told_in_one_sentence() -> None:
    async with Server("HTTP/1.1 404 Not Found") as address:
        with pytest.raises(MeshError, match=f"^cannot read the metrics at {address}: the server answers 404$"):
            await read_metrics(address)
