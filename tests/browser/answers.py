"""Answers whose pieces are sent when a test says so: what is seen before the next has been there as it came."""

import asyncio

from tests.support.provider import DONE, Reply, answer, sse
from tests.support.scripted import Scripted


class Answer:
    """An answer of the scripted provider to one question, a piece at a time; with its last step it ends.

    Args:
        scripted: the mesh, and the provider that its model relays to.
        question: what is answered.
        pieces: the answer's text.
    """

    def __init__(self, scripted: Scripted, question: str, *pieces: str) -> None:
        self._scripted = scripted
        begin, *texts, stop, usage = map(sse, answer(*pieces))
        gates = [asyncio.Event() for _ in range(len(texts) + 1)]
        sent = [step for gate, text in zip(gates, texts, strict=False) for step in (gate, text)]
        scripted.replies[question] = Reply([begin, *sent, gates[-1], stop, usage, DONE])
        self._gates = iter(gates)

    def step(self) -> None:
        """Send the next piece, or after the last the end."""
        self._scripted.call_soon(next(self._gates).set)
