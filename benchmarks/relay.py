"""Measures how many tokens a second a relay passes on from a provider that sends as fast as possible."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from benchmarks import endpoints
from benchmarks.deployment import NAIVE, OURS, PROVIDER, REFERENCES, Deployment, deploy
from benchmarks.endpoints import Endpoint
from benchmarks.figures import Figure, Target, count
from benchmarks.harness import interleave, log
from benchmarks.litellm_proxy import litellm
from benchmarks.load import Reading, read_streams
from benchmarks.readers import Lag
from benchmarks.servers import run_module

_SECONDS = 0.3  # the time that one reading should take
_SHORTEST, _LONGEST = 40, 4_000  # tokens in an answer
_LAGGING = 4_000  # tokens in an answer to a slow reader, many more than fit in the socket buffers

LITELLM, STOCK, BARE = "LiteLLM's proxy", "MLServer's stock conversion", "a bare grpc.aio server"
HTTP, MESH, OPENAI, GRPC = "HTTP", "HTTP through Envoy", "OpenAI path", "gRPC"
UNJOINED = "gRPC, no texts joined"

# The targets at 8 streams, by measured endpoint and reference.
_TARGETS = {
    (HTTP, PROVIDER): Target("value", 20_000),
    (HTTP, NAIVE): Target("ratio", 5),
    (HTTP, LITELLM): Target("ratio", 12),
    (UNJOINED, STOCK): Target("ratio", 1.6),
}
# The references of each measured endpoint.
_REFERENCES = {
    HTTP: (PROVIDER, NAIVE, LITELLM),
    MESH: (PROVIDER, LITELLM),
    OPENAI: (PROVIDER, LITELLM),
    GRPC: (PROVIDER, STOCK),
    UNJOINED: (STOCK, BARE),
}


def measure(full: bool) -> list[Figure]:
    """Measure 1 and 8 streams; if `full`, measure 64 and 256 streams and LiteLLM's proxy too."""
    with ExitStack() as stack:
        deployment = stack.enter_context(deploy())
        measured = _endpoints(deployment, stack.enter_context(run_module("benchmarks.bare_grpc")))
        if full:
            measured[LITELLM] = endpoints.openai_api(*stack.enter_context(litellm(deployment.provider)))
        figures = []
        for streams in (1, 8, 64, 256) if full else (1, 8):
            figures += _fast_readers(measured, streams, _rounds(streams, full))
        return figures + _slow_readers(measured, 8, rounds=5 if full else 1)


def _rounds(streams: int, full: bool) -> int:
    if streams > 8:
        return 3
    return 7 if full else 5


def _endpoints(deployment: Deployment, bare: int) -> dict[str, Endpoint]:
    http, grpc = deployment.sockets(OURS)
    reference_http, reference_grpc = deployment.sockets(REFERENCES)
    return {
        PROVIDER: endpoints.openai_api(deployment.provider),
        HTTP: endpoints.over_http(http),
        MESH: endpoints.over_http(deployment.mesh_port),
        OPENAI: endpoints.openai_path(http),
        NAIVE: endpoints.over_http(reference_http, "naive"),
        GRPC: endpoints.over_grpc(grpc),
        UNJOINED: endpoints.over_grpc(grpc, logprobs=True),
        STOCK: endpoints.over_grpc(reference_grpc, "stock"),
        BARE: endpoints.over_grpc(bare),
    }


def _fast_readers(measured: dict[str, Endpoint], streams: int, rounds: int) -> list[Figure]:
    readings = _readings(measured, streams, rounds, lag=None)
    figures = []
    for what, references in _REFERENCES.items():
        for against in references:
            if against in readings:
                target = _TARGETS.get((what, against)) if streams == 8 else None
                figures.append(_figure(readings, what, against, streams, target, events=what == UNJOINED))
    figures.append(_figure(readings, HTTP, PROVIDER, streams, None, events=True))
    return figures


def _slow_readers(measured: dict[str, Endpoint], streams: int, rounds: int) -> list[Figure]:
    chosen = {name: measured[name] for name in (HTTP, NAIVE, GRPC, STOCK)}
    readings = _readings(chosen, streams, rounds, lag=Lag())
    suffix = ", readers lag"
    return [
        _figure(readings, HTTP, NAIVE, streams, Target("value", 40_000), suffix=suffix),
        _figure(readings, HTTP, NAIVE, streams, None, events=True, suffix=suffix),
        _figure(readings, GRPC, STOCK, streams, Target("ratio", 3), suffix=suffix),
        _figure(readings, GRPC, STOCK, streams, None, events=True, suffix=suffix),
    ]


def _readings(measured: dict[str, Endpoint], streams: int, rounds: int, lag: Lag | None) -> dict[str, list[Reading]]:
    log(f"relay: {count(streams, 'stream')}{', readers lag' if lag else ''}")
    variants: dict[str, Callable[[], Reading]] = {}
    for name, endpoint in measured.items():
        if lag:
            variants[name] = partial(read_streams, endpoint, streams, _LAGGING, lag=lag)
            continue
        speed = read_streams(endpoint, streams, max(20, 800 // streams)).tokens_per_second  # also warms up
        tokens = min(_LONGEST, max(_SHORTEST, int(speed * _SECONDS / streams)))
        variants[name] = partial(read_streams, endpoint, streams, tokens)
    return interleave(variants, rounds)


def _figure(
    readings: dict[str, list[Reading]],
    what: str,
    against: str,
    streams: int,
    target: Target | None,
    *,
    events: bool = False,
    suffix: str = "",
) -> Figure:
    def speeds(name: str) -> list[float]:
        return [one.events_per_second if events else one.tokens_per_second for one in readings[name]]

    return Figure(
        part="relay",
        what=what + suffix,
        size=count(streams, "stream"),
        unit="events/s" if events else "tokens/s",
        values=speeds(what),
        against=against + suffix,
        references=speeds(against),
        target=target,
    )
