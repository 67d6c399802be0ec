"""Keeps every door of both runtimes busy, and checks that no answer is wrong and nothing grows.

``python -m tests.hostile.soak --minutes 15`` asks for streams and for whole answers, leaves some, and has some cut off
by the provider. It exits with status 1 if an answer was wrong, if a cut one passed for whole, or if a process grew.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai

from llm_streaming.errors import InferenceError
from llm_streaming.mesh.base import Mesh
from tests.hostile.growth import Growth
from tests.support.both_runtimes import FEW, RELAY, mesh_of_both_runtimes
from tests.support.doors import DOORS, Door, door
from tests.support.provider import CUT, Reply, Request, accumulated, sse, streamed
from tests.support.provider import answer as chunks_of

AT_ONCE = 8
WARM_UP = 0.1
"""The share of the time after which the processes are measured for the first time."""

FAILURES = (InferenceError, openai.APIError, httpx.TransportError)


def respond(request: Request) -> Reply:
    """Answer "<number> <kind>" with twenty tokens that repeat the number; cut the answer if the kind is ``cut``."""
    number, kind = request.body["messages"][-1]["content"].split()
    tokens = [f"{number}.{index} " for index in range(20)]
    if not request.body.get("stream"):
        steps = [accumulated(*tokens)] if kind != "cut" else [accumulated(*tokens)[:100], CUT]
        return Reply(steps, headers={"content-type": "application/json"})
    if kind == "cut":
        return Reply([*(sse(chunk) for chunk in chunks_of(*tokens)[:9]), CUT])
    return streamed(*tokens)


class Soak:
    """Workers that ask until the time is over.

    Attributes:
        counts: how many answers were ``whole``, ``left``, ``cut and noticed``, ``cut and not noticed``, ``wrong`` or
            ``failed``.
        examples: some of the wrong and failed ones.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._until = 0.0
        self._lock = threading.Lock()
        self._numbers: Iterator[int] = iter(range(sys.maxsize))
        self.counts: Counter[str] = Counter()
        self.examples: list[str] = []

    def run(self, seconds: float) -> None:
        """Ask through every door, `AT_ONCE` at a time, and return when all answers have ended."""
        self._until = time.monotonic() + seconds
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for worker in [pool.submit(self._work, DOORS[index % len(DOORS)]) for index in range(AT_ONCE)]:
                worker.result()

    def _work(self, kind: str) -> None:
        client = door(kind, self._mesh)
        while time.monotonic() < self._until:
            with self._lock:
                number = next(self._numbers)
            drawn = random.Random(number)
            ask = self._ask_relay if drawn.random() < 0.8 else self._ask_small
            verdict, example = ask(client, number, drawn.random())
            with self._lock:
                self.counts[verdict] += 1
                if example and len(self.examples) < 10:
                    self.examples.append(f"{verdict} over {kind}: {example}")

    def _ask_relay(self, client: Door, number: int, drawn: float) -> tuple[str, str]:
        cut, leaves, whole = drawn < 0.1, 0.1 <= drawn < 0.2, 0.2 <= drawn < 0.4
        messages = [{"role": "user", "content": f"{number} {'cut' if cut else 'go'}"}]
        text = ""
        try:
            if whole:
                text = client.complete(RELAY, messages)["choices"][0]["message"]["content"]
            else:
                chunks = client.stream(RELAY, messages)
                for chunk in chunks:
                    text += "".join(one["delta"].get("content") or "" for one in chunk["choices"])
                    if leaves and text:
                        chunks.close()
                        return "left", ""
        except FAILURES as error:
            return ("cut and noticed", "") if cut else ("failed", str(error))
        if cut:
            return "cut and not noticed", text
        return ("whole", "") if text == "".join(f"{number}.{index} " for index in range(20)) else ("wrong", text)

    def _ask_small(self, client: Door, _: int, drawn: float) -> tuple[str, str]:
        """Ask the small model, whose words nobody knows, for a known number of tokens."""
        more: dict[str, Any] = {"ignore_eos": True}
        messages = [{"role": "user", "content": "Count to ten."}]
        more = {"extra_body": more} if type(client).__name__ == "OpenAIDoor" else more
        try:
            if drawn < 0.3:
                answers = [client.complete("small", messages, **more)]
            else:
                answers = list(client.stream("small", messages, **more))
        except FAILURES as error:
            return "failed", str(error)
        reasons = [one["finish_reason"] for each in answers for one in each["choices"] if one["finish_reason"]]
        tokens = [each["usage"]["completion_tokens"] for each in answers if each.get("usage")]
        found = (reasons, tokens[-1:])
        return ("whole", "") if found == (["length"], [FEW]) else ("wrong", json.dumps(found))


def main() -> None:
    """Run the soak, print the tables, and exit with status 1 if something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    seconds = parser.parse_args().minutes * 60
    with tempfile.TemporaryDirectory() as folder, mesh_of_both_runtimes(Path(folder), respond) as mesh:
        soak = Soak(mesh)
        soak.run(seconds * WARM_UP)
        with Growth(mesh.home) as growth:
            soak.run(seconds * (1 - WARM_UP))
    print(growth.table())
    print("\n".join([*(f"{count:>8} {verdict}" for verdict, count in soak.counts.most_common()), *soak.examples]))
    bad = [verdict for verdict in ("wrong", "failed", "cut and not noticed") if soak.counts[verdict]]
    sys.exit("; ".join([*bad, *growth.problems()]) or 0)


if __name__ == "__main__":
    main()
