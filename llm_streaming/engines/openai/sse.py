"""Decodes server-sent events from bytes (https://html.spec.whatwg.org/#event-stream-interpretation)."""

from __future__ import annotations


class SSEDecoder:
    """Decodes an event stream incrementally: bytes go in, split anywhere; the data of completed events comes out.

    It works on bytes throughout, so a character split between two pieces needs no special care. Event names, ids and
    comments have no meaning in OpenAI's API and are skipped.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of a line whose end has not arrived
        self._data: list[bytes] = []  # the data lines of the event that is being read
        self._mark = b"\xef\xbb\xbf"  # the byte order mark that the first line may start with
        self._after_cr = False  # a line feed that comes next belongs to the line that has already ended

    def feed(self, piece: bytes) -> list[bytes]:
        """Take any number of bytes, and return the data of each event that they complete."""
        if not piece:
            return []
        text = piece.removeprefix(b"\n") if self._after_cr else piece
        self._after_cr = piece.endswith(b"\r")
        *ends, rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events = []
        for end in ends:
            line = b"".join((*self._line, end)).removeprefix(self._mark)
            self._line.clear()
            self._mark = b""
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
        self._line.append(rest)
        return events

    def close(self) -> list[bytes]:
        """Return the data of the event that the stream's end completes, if any.

        The standard drops an event without its closing empty line. Some servers leave that line out after their last
        event, so it counts here; its reader finds out whether the event is whole.
        """
        return self.feed(b"\n\n")
