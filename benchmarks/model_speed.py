"""The speed of a model, and figures that compare the speed through the mesh with a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import Figure, Target, count

QUESTION = "Does money buy happiness?"


@dataclass(frozen=True)
class Speed:
    """The speed of streams that were read at the same time.

    Args:
        tokens_per_second: tokens a second, of all streams together.
        first_token: the mean time to the first token of a stream, in milliseconds.
    """

    tokens_per_second: float
    first_token: float


def speed_figures(
    part: str,
    streams: int,
    mesh: Sequence[Speed],
    against: str,
    references: Sequence[Speed],
    *,
    tokens_target: Target | None = None,
    first_token_target: Target | None = None,
    added: bool = False,
) -> list[Figure]:
    """Return a figure for tokens a second and one for the time to the first token.

    Args:
        part: the measurement that the figures belong to.
        streams: the number of streams.
        mesh: the speed through the mesh, one for each round.
        against: the name of the reference.
        references: the speed of the reference, one for each round.
        tokens_target: the target for tokens a second.
        first_token_target: the target for the time to the first token.
        added: whether reports show the difference between the times to the first token instead of their ratio.
    """
    size = count(streams, "stream")
    return [
        Figure(
            part=part,
            what="through the mesh",
            size=size,
            unit="tokens/s",
            values=[speed.tokens_per_second for speed in mesh],
            against=against,
            references=[speed.tokens_per_second for speed in references],
            target=tokens_target,
        ),
        Figure(
            part=part,
            what="through the mesh, time to first token",
            size=size,
            unit="ms",
            values=[speed.first_token for speed in mesh],
            against=against,
            references=[speed.first_token for speed in references],
            added=added,
            target=first_token_target,
        ),
    ]
