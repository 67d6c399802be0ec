"""What a relay adds to the time to the first token, and to the gap between tokens, of a provider at reading speed."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from benchmarks import load
from benchmarks.deployment import OURS, Deployed, deployed
from benchmarks.harness import Figure, Target, count, interleave, percentile, say
from benchmarks.load import Door, Reading, ask

_RATE = 50.0  # tokens a second and stream
_TOKENS = 25  # an answer
_ANSWERS = 4  # of each stream, one after the other: many first tokens
_PROVIDER = "the provider read directly"
_SHARES = (50, 95, 99)

# Milliseconds, at 16 streams.
_TARGETS = {("time to first token", 50): 3.0, ("gap", 50): 1.0, ("time to first token", 99): 10.0, ("gap", 99): 10.0}


def measure(full: bool) -> list[Figure]:
    """Measure at 16 streams, and in full also at 1 and 64."""
    figures = []
    with deployed() as site:
        doors = _doors(site)
        for streams in (1, 16, 64) if full else (16,):
            say(f"latency: {count(streams, 'stream')}")
            for door in doors.values():
                ask(door, streams, 2)  # connections to the provider are open from then on
            # The streams begin at different moments, as readers do: while others are in the middle of an answer.
            variants = {
                name: partial(ask, door, streams, _TOKENS, rate=_RATE, answers=_ANSWERS, spread=_TOKENS / _RATE)
                for name, door in doors.items()
            }
            readings = interleave(variants, rounds=7 if full else 3)
            for name in doors:
                if name != _PROVIDER:
                    figures += _figures(name, doors, readings, streams)
    return figures


def _doors(site: Deployed) -> dict[str, Door]:
    http, grpc = site.ports(OURS)
    return {
        _PROVIDER: load.provider(site.provider),
        "HTTP": load.over_http(http),
        "HTTP through Envoy": load.over_http(site.mesh_port),
        "gRPC": load.over_grpc(grpc),
    }


def _figures(what: str, doors: dict[str, Door], readings: dict[str, list[Reading]], streams: int) -> list[Figure]:
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
                    values=[percentile(times(one, doors[what].copies), share) for one in readings[what]],
                    against=_PROVIDER,
                    references=[percentile(times(one, 1), share) for one in readings[_PROVIDER]],
                    added=True,
                    target=None if bound is None else Target("added", bound, at_least=False),
                )
            )
    return figures


def _first_tokens(reading: Reading, copies: int) -> list[float]:
    return [(answer.token_times(copies)[0] - answer.started) * 1e3 for answer in reading.answers]


def _gaps(reading: Reading, copies: int) -> list[float]:
    return [
        (later - earlier) * 1e3 for answer in reading.answers for earlier, later in pairwise(answer.token_times(copies))
    ]
