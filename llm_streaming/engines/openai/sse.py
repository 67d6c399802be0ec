"""Decodes server-sent events from bytes (https://html.spec.whatwg.org/#event-stream-interpretation)."""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"


class SSEDecoder:
    """Decodes an event stream incrementally: bytes go in, split anywhere; the data of completed events comes out.

    It works on bytes throughout, so a character split between two pieces needs no special care. Event names, ids and
    comments have no meaning in OpenAI's API and are skipped.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of a line whose end has not arrived
        self._data: list[bytes] = []  # the data lines of the event that is being read
        self._after_cr = False  # a line feed that comes next belongs to the line that has already ended
        self._at_start = True

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next bytes.

        Args:
            piece: any number of bytes.

        Returns:
            The data of every event that these bytes complete; several data lines are joined by line feeds.
        """
        events = []
        for line in self._complete_lines(piece):
            if line:
                name, _, value = line.partition(b":")
                if name == b"data":
                    self._data.append(value.removeprefix(b" "))
            elif self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
        return events

    def close(self) -> list[bytes]:
        """Return the data of the event that the stream's end completes, if any.

        The standard drops an event without its closing empty line. Some servers leave that line out after their last
        event, so it counts here; its reader finds out whether the event is whole.
        """
        return self.feed(b"\n\n")

    def _complete_lines(self, piece: bytes) -> list[bytes]:
        if not piece:
            return []
        if self._after_cr:
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        lines = piece.splitlines(keepends=True)
        rest = lines.pop() if lines and not lines[-1].endswith((b"\r", b"\n")) else b""
        if lines:
            lines[0] = b"".join((*self._line, lines[0]))
            self._line.clear()
            if self._at_start:
                lines[0] = lines[0].removeprefix(_BOM)
                self._at_start = False
        if rest:
            self._line.append(rest)
        return [line.rstrip(b"\r\n") for line in lines]
