"""Decodes server-sent events from bytes (https://html.spec.whatwg.org/#event-stream-interpretation)."""

from __future__ import annotations

from llm_streaming.errors import EngineError
from llm_streaming.protocol.limits import LARGEST_EVENT


class SSEDecoder:
    """Decodes an event stream incrementally, from pieces of bytes that may be split anywhere.

    The decoder never decodes text, so a character may be split between two pieces. Event names, ids and comments are
    skipped, because OpenAI's API does not use them.
    """

    def __init__(self) -> None:
        self._line = bytearray()  # the line whose end has not arrived yet
        self._data: list[bytes] = []  # the data lines so far of the current event
        self._size = 0  # bytes of these data lines
        self._mark = b"\xef\xbb\xbf"  # the byte order mark, with which the first line may start
        self._after_cr = False  # whether the last piece ended with "\r": if "\n" follows, it ends no other line

    def feed(self, piece: bytes) -> list[bytes]:
        """Add a piece of the stream, and return the data of each event that the piece completes.

        Raises:
            EngineError: an event, or a line, has more than 4 MB.
        """
        if not piece:
            return []
        text = piece.removeprefix(b"\n") if self._after_cr else piece
        self._after_cr = piece.endswith(b"\r")
        *ends, rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events = []
        for end in ends:
            self._extend_line(end)
            line = bytes(self._line).removeprefix(self._mark)
            self._line.clear()
            self._mark = b""
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
                self._size += len(line)
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
                self._size = 0
        self._extend_line(rest)
        return events

    def _extend_line(self, piece: bytes) -> None:
        self._line += piece  # takes linear time in all, unlike joining bytes
        if self._size + len(self._line) > LARGEST_EVENT:
            raise EngineError("The provider sent an event of more than 4 MB.", status=502)

    def close(self) -> list[bytes]:
        """End the stream, and return the data of its unfinished last event, if there is one.

        The standard drops an event that no empty line closes. Some servers leave out this line after their last event,
        so the event is returned here; the caller's parser detects an event that was cut off.
        """
        return self.feed(b"\n\n")
