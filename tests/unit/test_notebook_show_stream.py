"""One stream that is printed or shown as Markdown: all of its text is shown, and an interrupt ends it."""

import io
import time
from collections.abc import Callable
from contextlib import redirect_stdout

import pytest

from llm_streaming import AsyncChatClient, notebook
from llm_streaming.client.timing import Timing
from llm_streaming.errors import InferenceError, LLMStreamingError
from llm_streaming.notebook import StreamInterrupted
from llm_streaming.notebook.live_output import markdown_renderer
from tests.support.notebook_outputs import Outputs, Script
from tests.support.processes import modules_imported_by

MODES = pytest.mark.parametrize("pretty", [False, True], ids=["plain", "pretty"])
STOPPED = "the cell was interrupted and the generation stopped; the text that had arrived is shown"


class Terminal(io.StringIO):
    """Standard output that counts its flushes, and raises KeyboardInterrupt at the flush `interrupt_at`."""

    flushes = 0
    interrupt_at = -1

    def flush(self) -> None:
        self.flushes += 1
        if self.flushes == self.interrupt_at:
            raise KeyboardInterrupt


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> Outputs:
    return Outputs(monkeypatch)


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def show(script: Script, terminal: Terminal, pretty: bool = False) -> Timing:
    with redirect_stdout(terminal):
        return notebook.show(script.stream(), pretty)


def shown(pretty: bool, outputs: Outputs, terminal: Terminal) -> str:
    return outputs.only["text/plain"] if pretty else terminal.getvalue().removesuffix("\n")


@MODES
def test_all_of_it_is_shown(pretty: bool, outputs: Outputs, terminal: Terminal) -> None:
    script = Script("Some ", "", "words", ".")
    timing = show(script, terminal, pretty)
    assert shown(pretty, outputs, terminal) == "Some words."
    assert (timing.tokens, script.closed, timing.first_token is not None) == (4, True, True)


def test_an_answer_without_text_prints_nothing(terminal: Terminal) -> None:
    show(Script(), terminal)
    assert terminal.getvalue() == ""


@MODES
def test_a_fast_stream_is_shown_at_a_limited_rate(pretty: bool, outputs: Outputs, terminal: Terminal) -> None:
    """The script sends many thousand tokens per second."""
    words = [f"{number} " for number in range(20_000)]
    started = time.perf_counter()
    show(Script(*words), terminal, pretty)
    elapsed = time.perf_counter() - started
    messages, per_second = (outputs.updates, 10) if pretty else (terminal.flushes, 20)
    assert messages <= elapsed * per_second + 3  # the first text, the last text and the end of the line
    assert shown(pretty, outputs, terminal) == "".join(words)


@MODES
def test_a_failure_loses_nothing(pretty: bool, outputs: Outputs, terminal: Terminal) -> None:
    failure = InferenceError("the engine broke", partial="one two")
    script = Script("one ", "two", failure)
    with pytest.raises(InferenceError) as failed:
        show(script, terminal, pretty)
    assert failed.value is failure
    assert shown(pretty, outputs, terminal) == "one two"


@MODES
def test_an_interrupt_while_waiting_ends_the_stream_and_loses_nothing(
    pretty: bool, outputs: Outputs, terminal: Terminal
) -> None:
    script = Script("one ", "two", KeyboardInterrupt(), "never")
    with pytest.raises(StreamInterrupted, match=STOPPED) as stopped:
        show(script, terminal, pretty)
    assert shown(pretty, outputs, terminal) == stopped.value.partial == "one two"
    assert (script.closed, script.given) == (True, ["one ", "two"])
    assert isinstance(stopped.value.timing, Timing)
    assert stopped.value.timing.first_token is not None
    assert stopped.value._render_traceback_() == [f"StreamInterrupted: {STOPPED}"]
    assert isinstance(stopped.value, KeyboardInterrupt)


@MODES
def test_an_interrupt_while_showing_loses_and_repeats_nothing(
    pretty: bool, outputs: Outputs, terminal: Terminal
) -> None:
    def interrupt_once() -> None:
        outputs.on_update = lambda: None
        raise KeyboardInterrupt

    outputs.on_update = interrupt_once
    terminal.interrupt_at = 1
    script = Script("one ", "two", "three")
    with pytest.raises(StreamInterrupted) as stopped:
        show(script, terminal, pretty)
    assert script.closed
    assert shown(pretty, outputs, terminal) == stopped.value.partial == "one "


def test_pretty_shows_the_text_and_then_its_markdown(outputs: Outputs, terminal: Terminal) -> None:
    pages = []
    outputs.on_update = lambda: pages.append(outputs.only.get("text/html"))
    show(Script("**bold** & <b>"), terminal, pretty=True)
    pages.append(outputs.only["text/html"])
    assert pages == [
        None,
        '<pre style="white-space: pre-wrap; overflow-wrap: anywhere">**bold** &amp; &lt;b&gt;</pre>',
        "<p><strong>bold</strong> &amp; &lt;b&gt;</p>\n",
    ]
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(
    ("markdown", "page"),
    [
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>\n"),
        ("[here](javascript:alert(1))", "<p>[here](javascript:alert(1))</p>\n"),
        ("![it](http://x.example/?said)", '<p>!<a href="http://x.example/?said">it</a></p>\n'),
        ("```html\n<b>\n```", '<pre><code class="language-html">&lt;b&gt;\n</code></pre>\n'),
    ],
)
def test_markdown_of_a_model_runs_and_loads_nothing(markdown: str, page: str) -> None:
    assert markdown_renderer()(markdown) == page


@pytest.mark.parametrize(
    "show", [notebook.show, lambda events: notebook.show_side_by_side({"a": events})], ids=["show", "side by side"]
)
def test_an_asynchronous_stream_is_refused(show: Callable[[object], object]) -> None:
    with pytest.raises(LLMStreamingError) as refused:
        show(AsyncChatClient("127.0.0.1:1").stream("m", [{"role": "user", "content": "Hello!"}]))
    assert str(refused.value) == (
        "expected a stream from ChatClient or GrpcChatClient, but got AsyncChatStream: read an asynchronous client's "
        "stream with `async for`"
    )


def test_showing_text_needs_no_notebook() -> None:
    """The command line imports these modules too."""
    found = modules_imported_by("from llm_streaming.notebook import show, recorded")
    assert not {"IPython", "ipywidgets", "matplotlib", "markdown_it", "mlserver", "httpx"} & found
