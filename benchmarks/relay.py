"""How fast a relay passes on what a provider sends as fast as it is read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from benchmarks import load
from benchmarks.deployment import OURS, REFERENCES, Deployed, deployed, listening
from benchmarks.harness import Figure, Target, count, interleave, say
from benchmarks.load import Door, Lag, Reading, ask
from benchmarks.peers import litellm

_SECONDS = 0.3  # that one reading is to take
_SHORTEST, _LONGEST = 40, 4_000  # tokens of an answer
_LAGGING = 4_000  # tokens of an answer whose reader lags: what the sockets hold has to be little beside it

PROVIDER, OBVIOUS, LITELLM = "the provider read directly", "the obvious runtime", "LiteLLM's proxy"
STOCK, BARE = "MLServer's stock conversion", "a bare grpc.aio server"
HTTP, MESH, OPENAI, GRPC = "HTTP", "HTTP through Envoy", "OpenAI path", "gRPC"
UNJOINED = "gRPC, no texts joined"

# At 8 streams.
_TARGETS = {
    (HTTP, PROVIDER): Target("value", 20_000),
    (HTTP, OBVIOUS): Target("ratio", 5),
    (HTTP, LITELLM): Target("ratio", 12),
    (UNJOINED, STOCK): Target("ratio", 1.6),
}
_AGAINST = {
    HTTP: (PROVIDER, OBVIOUS, LITELLM),
    MESH: (PROVIDER, LITELLM),
    OPENAI: (PROVIDER, LITELLM),
    GRPC: (PROVIDER, STOCK),
    UNJOINED: (STOCK, BARE),
}


def measure(full: bool) -> list[Figure]:
    """Measure at 1 and 8 streams, and in full also at 64 and 256 and beside LiteLLM's proxy."""
    with ExitStack() as stack:
        site = stack.enter_context(deployed())
        doors = _doors(site, stack.enter_context(listening("benchmarks.bare_grpc")))
        if full:
            doors[LITELLM] = load.provider(*stack.enter_context(litellm(site.provider)))
        figures = []
        for streams in (1, 8, 64, 256) if full else (1, 8):
            figures += _keeping_up(doors, streams, rounds=3 if streams > 8 else 7 if full else 5)
        return figures + _lagging(doors, 8, rounds=5 if full else 1)


def _doors(site: Deployed, bare: int) -> dict[str, Door]:
    http, grpc = site.ports(OURS)
    reference_http, reference_grpc = site.ports(REFERENCES)
    return {
        PROVIDER: load.provider(site.provider),
        HTTP: load.over_http(http),
        MESH: load.over_http(site.mesh_port),
        OPENAI: load.openai_path(http),
        OBVIOUS: load.over_http(reference_http, "obvious"),
        GRPC: load.over_grpc(grpc),
        UNJOINED: load.over_grpc(grpc, logprobs=True),
        STOCK: load.over_grpc(reference_grpc, "stock"),
        BARE: load.over_grpc(bare),
    }


def _keeping_up(doors: dict[str, Door], streams: int, rounds: int) -> list[Figure]:
    readings = _readings(doors, streams, rounds, lag=None)
    figures = []
    for what, references in _AGAINST.items():
        for against in references:
            if against in readings:
                target = _TARGETS.get((what, against)) if streams == 8 else None
                figures.append(_figure(readings, what, against, streams, target, events=what == UNJOINED))
    figures.append(_figure(readings, HTTP, PROVIDER, streams, None, events=True))
    return figures


def _lagging(doors: dict[str, Door], streams: int, rounds: int) -> list[Figure]:
    chosen = {name: doors[name] for name in (HTTP, OBVIOUS, GRPC, STOCK)}
    readings = _readings(chosen, streams, rounds, lag=Lag())
    suffix = ", readers lag"
    return [
        _figure(readings, HTTP, OBVIOUS, streams, Target("value", 40_000), suffix=suffix),
        _figure(readings, HTTP, OBVIOUS, streams, None, events=True, suffix=suffix),
        _figure(readings, GRPC, STOCK, streams, Target("ratio", 3), suffix=suffix),
        _figure(readings, GRPC, STOCK, streams, None, events=True, suffix=suffix),
    ]


def _readings(doors: dict[str, Door], streams: int, rounds: int, lag: Lag | None) -> dict[str, list[Reading]]:
    say(f"relay: {count(streams, 'stream')}{', readers lag' if lag else ''}")
    variants: dict[str, Callable[[], Reading]] = {}
    for name, door in doors.items():
        if lag:
            variants[name] = partial(ask, door, streams, _LAGGING, lag=lag)
            continue
        speed = ask(door, streams, max(20, 800 // streams)).tokens_per_second  # which also warms up
        tokens = min(_LONGEST, max(_SHORTEST, int(speed * _SECONDS / streams)))
        variants[name] = partial(ask, door, streams, tokens)
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
