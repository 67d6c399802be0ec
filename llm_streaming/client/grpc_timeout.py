"""A timeout for each message of a synchronous gRPC stream."""

from __future__ import annotations

import threading
import time
from typing import Any, Self


class MessageTimeout:
    """Reads a call's messages, and cancels the call when the next one takes too long.

    gRPC has only deadlines for whole calls, and a stream may take as long as it needs. The time that the reader spends
    between two messages does not count.

    Args:
        call: a synchronous gRPC call that streams its answer.
        timeout: seconds to wait for one message.

    Attributes:
        expired: whether the timeout has cancelled the call.
    """

    def __init__(self, call: Any, timeout: float) -> None:  # noqa: ANN401 - gRPC has no types
        self.expired = False
        self._call = call
        self._timeout = timeout
        self._waiting_since: float | None = None
        self._done = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="grpc-timeout", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()

    def next_message(self) -> bytes | None:
        """Wait for the next message; return None at the end of the stream."""
        self._waiting_since = time.monotonic()
        message: bytes | None = next(self._call, None)
        self._waiting_since = None
        return message

    def _watch(self) -> None:
        remaining = self._timeout
        while not self._done.wait(remaining):
            since = self._waiting_since
            remaining = self._timeout if since is None else since + self._timeout - time.monotonic()
            if remaining <= 0:
                self.expired = True
                self._call.cancel()
                return
