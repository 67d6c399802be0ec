"""Several streams that are shown at once: each is shown completely, also if another fails."""

import threading
import time
from collections.abc import Iterator

import pytest

from llm_streaming.errors import InferenceError
from llm_streaming.notebook import SideBySideError, StreamInterrupted, show_side_by_side
from llm_streaming.notebook.live_output import table
from llm_streaming.protocol import ChatEvent
from tests.support.notebook_outputs import Outputs, Script, event


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> Outputs:
    return Outputs(monkeypatch)


def test_each_has_a_column(outputs: Outputs) -> None:
    timings = show_side_by_side({"HTTP": Script("a\n", "<b>").stream(), "gRPC": Script("c").stream()})
    words = {label: str(timing) for label, timing in timings.items()}
    assert outputs.only == {
        "text/html": table(["HTTP", "gRPC"], [["a\n<b>", "c"], list(words.values())]),
        "text/plain": f"HTTP\na\n<b>\n({words['HTTP']})\n\ngRPC\nc\n({words['gRPC']})",
    }
    assert {label: timing.tokens for label, timing in timings.items()} == {"HTTP": 2, "gRPC": 1}


def test_a_table_needs_no_styles_and_escapes_html() -> None:
    left, top = 'align="left" valign="top"', "text-align: left; vertical-align: top"
    cell = f'<td {left} style="{top}; white-space: pre-wrap; overflow-wrap: anywhere">'
    assert table(["<i>", "b"], [["1\n2", "&"]]) == (
        '<table width="100%"><thead><tr>'
        f'<th scope="col" width="50%" {left} style="{top}">&lt;i&gt;</th>'
        f'<th scope="col" width="50%" {left} style="{top}">b</th></tr></thead>'
        f"<tbody><tr>{cell}1<br>2</td>{cell}&amp;</td></tr></tbody></table>"
    )


def test_they_run_at_once(outputs: Outputs) -> None:
    """Each stream waits for the other halfway, so neither could end alone."""
    both = threading.Barrier(2, timeout=60)

    def stream() -> Iterator[ChatEvent]:
        yield event("one ")
        both.wait()
        yield event("two", finish_reason="stop")

    show_side_by_side({"a": stream(), "b": stream()})
    assert outputs.only["text/plain"].count("one two") == 2


def test_a_fast_stream_is_shown_at_a_limited_rate(outputs: Outputs) -> None:
    words = [f"{number} " for number in range(20_000)]
    started = time.perf_counter()
    show_side_by_side({label: Script(*words).stream() for label in "ab"})
    elapsed = time.perf_counter() - started
    assert outputs.updates <= elapsed * 10 + 2
    assert outputs.only["text/plain"].count("".join(words)) == 2


def test_a_failure_does_not_end_the_others(outputs: Outputs) -> None:
    failed = threading.Event()
    failure = InferenceError("the engine broke", partial="one")

    def failing() -> Iterator[ChatEvent]:
        yield event("one")
        failed.set()
        raise failure

    def lasting() -> Iterator[ChatEvent]:
        yield event("a ")
        failed.wait(60)
        yield event("b", finish_reason="stop")

    with pytest.raises(SideBySideError, match=r"^first: the engine broke$") as raised:
        show_side_by_side({"first": failing(), "second": lasting()})
    assert raised.value.failures == {"first": failure}
    assert raised.value.partial == {"first": "one", "second": "a b"}
    timing = raised.value.timing["second"]
    assert outputs.only["text/plain"] == f"first\none\n(the engine broke)\n\nsecond\na b\n({timing})"


def test_an_interrupt_ends_them_all(outputs: Outputs) -> None:
    given: dict[str, list[str]] = {"a": [], "b": []}
    left = set()

    def endless(label: str) -> Iterator[ChatEvent]:
        try:
            while True:
                given[label].append(f"{len(given[label])} ")
                yield event(given[label][-1])
        finally:
            left.add(label)

    def interrupt() -> None:
        outputs.on_update = lambda: None
        raise KeyboardInterrupt

    outputs.on_update = interrupt
    before = threading.active_count()
    with pytest.raises(StreamInterrupted) as stopped:
        show_side_by_side({label: endless(label) for label in given})
    assert threading.active_count() == before
    assert left == {"a", "b"}
    assert stopped.value.partial == {label: "".join(texts) for label, texts in given.items()}
    assert isinstance(stopped.value.timing, dict)
    assert set(stopped.value.timing) == {"a", "b"}
    assert outputs.only["text/plain"].startswith(f"a\n{stopped.value.partial['a']}\n(")
