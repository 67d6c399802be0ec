"""Answers whose pieces a test sends one at a time, to see each on the page before the next is sent."""

import asyncio

from tests.support.provider import DONE, Reply, answer, sse
from tests.support.scripted import Scripted


class Answer:
    """An answer of the scripted provider, sent one piece at a time; the last step ends it.

    Args:
        scripted: the mesh and its scripted provider.
        question: the question that it answers.
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
        """Send the next piece, or the end after the last piece."""
        self._scripted.call_soon(next(self._gates).set)
