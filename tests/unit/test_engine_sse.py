import pytest

from llm_streaming.engines.openai.sse import SSEDecoder

# Each stream with the data of its events; the first four are the examples of the event-stream standard.
STREAMS = {
    "standard: data lines are joined": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [b"YHOO\n+2\n10"]),
    "standard: comments, ids and one space": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [b"first event", b"second event", b" third event"],
    ),
    "standard: empty data": (b"data\n\ndata\ndata\n\n", [b"", b"\n"]),
    "standard: the space after the colon is ignored": (b"data:test\n\ndata: test\n\n", [b"test", b"test"]),
    "CRLF": (b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", [b"a\nb", b"c"]),
    "CR alone": (b"data: a\rdata: b\r\rdata: c\r\r", [b"a\nb", b"c"]),
    "mixed line ends": (b"data: a\r\ndata: b\n\r\ndata: c\r\n\n", [b"a\nb", b"c"]),
    "keep-alives": (b": keep-alive\n\n:\n\ndata: a\n\n: keep-alive\n\n", [b"a"]),
    "byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "characters of several bytes": ("data: grüße 🌱 日本\u2028\n\n".encode(), ["grüße 🌱 日本\u2028".encode()]),
    "other fields": (b"event: error\nretry: 3\ndatum: x\ndata: a\n\nevent: ping\n\n", [b"a"]),
    "colons in the data": (b"data: a: b:c\n\n", [b"a: b:c"]),
    "no last empty line": (b"data: a\n\ndata: b\n", [b"a", b"b"]),
    "no last line end": (b"data: a\n\ndata: b", [b"a", b"b"]),
    "CR at the very end": (b"data: a\r", [b"a"]),
    "nothing": (b"", []),
}


def decode(*pieces: bytes) -> list[bytes]:
    decoder = SSEDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


@pytest.mark.parametrize(("stream", "events"), STREAMS.values(), ids=STREAMS)
def test_every_split_into_three_decodes_alike(stream: bytes, events: list[bytes]) -> None:
    splits = [(i, j) for i in range(len(stream) + 1) for j in range(i, len(stream) + 1)]
    assert [decode(stream[:i], stream[i:j], stream[j:]) for i, j in splits] == [events] * len(splits)


@pytest.mark.parametrize(("stream", "events"), STREAMS.values(), ids=STREAMS)
def test_byte_by_byte(stream: bytes, events: list[bytes]) -> None:
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == events


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_an_event_comes_out_with_its_last_byte(end: bytes) -> None:
    assert SSEDecoder().feed(b"data: a" + end) == [b"a"]
