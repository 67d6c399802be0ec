"""Noticing that a stream has gone silent, where one has to block for its next message."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, Self


class Watchdog:
    """Reads a call's messages, and cancels the call once it has been waited for too long.

    gRPC knows only deadlines for whole calls, and a stream may take as long as it likes. The time that the reader
    itself takes between two messages does not count.

    Args:
        call: a synchronous gRPC call that streams its answer.
        timeout: seconds to wait for one message.

    Attributes:
        barked: whether it has cancelled the call.
    """

    def __init__(self, call: Any, timeout: float) -> None:  # noqa: ANN401 - gRPC has no types
        self.barked = False
        self._call = call
        self._timeout = timeout
        self._waiting_since: float | None = None
        self._done = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="grpc-silence", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()

    def messages(self) -> Iterator[bytes]:
        """Yield the call's messages as they come."""
        while True:
            self._waiting_since = time.monotonic()
            message = next(self._call, None)
            self._waiting_since = None
            if message is None:
                return
            yield message

    def _watch(self) -> None:
        left = self._timeout
        while not self._done.wait(left):
            since = self._waiting_since
            left = self._timeout if since is None else since + self._timeout - time.monotonic()
            if left <= 0:
                self.barked = True
                self._call.cancel()
                return
