"""Merging what waits for a slow reader loses nothing and reorders nothing."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from llm_streaming.protocol import accumulate, merge
from llm_streaming.protocol.merge import LONGEST_RUN
from tests.support.provider import answer, chunk, line

CALL = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}


def merged(*chunks: dict) -> list[dict]:
    return [orjson.loads(one) for one in merge(map(line, chunks))]


def test_neighbouring_texts_become_one() -> None:
    first, *_ = chunks = answer("Hel", "lo", " 🙂")
    assert merged(*chunks) == [first, chunk({"content": "Hello 🙂"}), *chunks[-2:]]


def test_what_is_not_only_text_stays_in_its_place() -> None:
    kept = [
        chunk({"role": "assistant", "content": "r"}),
        chunk({"content": "f"}, "stop"),
        chunk(CALL),
        chunk({"content": None}),
        chunk({}),
        chunk(usage={"total_tokens": 1}),
        {"choices": [{"index": 0, "delta": {"content": "l"}, "logprobs": {"content": []}, "finish_reason": None}]},
        {"choices": [{"index": 1, "delta": {"content": "other choice"}, "finish_reason": None}]},
    ]
    chunks = [one for each in kept for one in (chunk({"content": "a"}), chunk({"content": "b"}), each)]
    assert merged(*chunks) == [one for each in kept for one in (chunk({"content": "ab"}), each)]


def test_a_lone_chunk_is_not_touched() -> None:
    raw = b'{"choices":[{"delta":{"content":"x"}}], "extra": 1}'
    assert merge([raw]) == [raw]


def test_a_run_is_no_longer_than_an_event_may_be() -> None:
    found = merged(*[chunk({"content": "x" * 1000}) for _ in range(9)])
    assert [len(one["choices"][0]["delta"]["content"]) for one in found] == [4000, 4000, 1000]
    assert LONGEST_RUN == 4096


@given(st.lists(st.one_of(st.text(max_size=9), st.just(None)), min_size=1))
def test_the_answer_is_the_same(texts: list[str | None]) -> None:
    chunks = [chunk(CALL) if text is None else chunk({"content": text}) for text in texts]
    assert accumulate(merged(*chunks, chunk({}, "stop"))) == accumulate([*chunks, chunk({}, "stop")])
