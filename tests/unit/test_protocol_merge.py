"""Merging what waits for a slow reader loses nothing and reorders nothing."""

from hypothesis import given
from hypothesis import strategies as st

from llm_streaming.protocol import accumulate
from llm_streaming.protocol.chunks import LONGEST_TEXT, merge
from tests.support.provider import answer, chunk

CALL = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}


def test_neighbouring_texts_become_one() -> None:
    first, *_ = chunks = answer("Hel", "lo", " 🙂")
    assert merge(chunks) == [first, chunk({"content": "Hello 🙂"}), *chunks[-2:]]


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
    assert merge(chunks) == [one for each in kept for one in (chunk({"content": "ab"}), each)]


def test_a_lone_chunk_is_not_touched() -> None:
    lone = chunk({"content": "x"})
    [merged] = merge([lone])
    assert merged is lone


def test_a_run_is_no_longer_than_an_event_may_be() -> None:
    found = merge([chunk({"content": "x" * 1000}) for _ in range(9)])
    assert [len(one["choices"][0]["delta"]["content"]) for one in found] == [4000, 4000, 1000]
    assert LONGEST_TEXT == 4096


@given(st.lists(st.one_of(st.text(max_size=9), st.just(None)), min_size=1))
def test_the_answer_is_the_same(texts: list[str | None]) -> None:
    chunks = [chunk(CALL) if text is None else chunk({"content": text}) for text in texts]
    assert accumulate(merge([*chunks, chunk({}, "stop")])) == accumulate([*chunks, chunk({}, "stop")])
