"""Measures the time that a relay adds to the first token and to the gap between tokens, at a readable speed."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from benchmarks import endpoints
from benchmarks.deployment import OURS, PROVIDER, Deployment, deploy
from benchmarks.endpoints import Endpoint
from benchmarks.figures import Figure, Target, count
from benchmarks.harness import interleave, log, percentile
from benchmarks.load import Reading, read_streams

_RATE = 50.0  # tokens a second in each stream
_TOKENS = 25  # tokens in an answer
_ANSWERS = 4  # answers in each stream, one after the other, so that many first tokens are measured
_SHARES = (50, 95, 99)  # the percentiles that are reported

# Added milliseconds at 16 streams, by kind and percentile.
_TARGETS = {("time to first token", 50): 3.0, ("gap", 50): 1.0, ("time to first token", 99): 10.0, ("gap", 99): 10.0}


def measure(full: bool) -> list[Figure]:
    """Measure 16 streams, and also 1 and 64 if `full`."""
    figures = []
    with deploy() as deployment:
        measured = _endpoints(deployment)
        for streams in (1, 16, 64) if full else (16,):
            log(f"latency: {count(streams, 'stream')}")
            for endpoint in measured.values():
                read_streams(endpoint, streams, 2)  # opens the connections to the provider
            # The starts are spread over one answer, so that streams start while others are in the middle of an answer.
            variants = {
                name: partial(
                    read_streams, endpoint, streams, _TOKENS, rate=_RATE, answers=_ANSWERS, spread=_TOKENS / _RATE
                )
                for name, endpoint in measured.items()
            }
            readings = interleave(variants, rounds=7 if full else 3)
            for name in measured:
                if name != PROVIDER:
                    figures += _figures(name, measured, readings, streams)
    return figures


def _endpoints(deployment: Deployment) -> dict[str, Endpoint]:
    http, grpc = deployment.sockets(OURS)
    return {
        PROVIDER: endpoints.openai_api(deployment.provider),
        "HTTP": endpoints.over_http(http),
        "HTTP through Envoy": endpoints.over_http(deployment.mesh_port),
        "gRPC": endpoints.over_grpc(grpc),
    }


def _figures(
    what: str, measured: dict[str, Endpoint], readings: dict[str, list[Reading]], streams: int
) -> list[Figure]:
    figures = []
    for kind, times in (("time to first token", _first_tokens), ("gap", _gaps)):
        for share in _SHARES:
            bound = _TARGETS.get((kind, share)) if streams == 16 else None
            figures.append(
                Figure(
                    part="latency",
                    what=f"{what}, {kind}, p{share}",
                    size=count(streams, "stream"),
                    unit="ms",
                    values=[percentile(times(one, measured[what].copies), share) for one in readings[what]],
                    against=PROVIDER,
                    references=[percentile(times(one, 1), share) for one in readings[PROVIDER]],
                    added=True,
                    target=None if bound is None else Target("added", bound, at_least=False),
                )
            )
    return figures


def _first_tokens(reading: Reading, copies: int) -> list[float]:
    """Return the time to the first token of each answer, in milliseconds."""
    return [answer.first_token(copies) for answer in reading.answers]


def _gaps(reading: Reading, copies: int) -> list[float]:
    """Return the times between consecutive tokens of each answer, in milliseconds."""
    return [
        (later - earlier) * 1e3 for answer in reading.answers for earlier, later in pairwise(answer.token_times(copies))
    ]
