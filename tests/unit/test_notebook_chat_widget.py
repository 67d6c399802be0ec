"""The chat widget remembers the conversation, stops an answer at a click, and shows failures."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from types import SimpleNamespace
from typing import Any

import IPython
import pytest

from llm_streaming import AsyncChatClient, ChatClient
from llm_streaming.client.stream import AsyncChatStream
from llm_streaming.errors import InferenceError
from llm_streaming.notebook import chat
from llm_streaming.notebook.chat_widget import ChatCellError, ChatWidget
from llm_streaming.protocol import ChatEvent
from tests.support.notebook_outputs import event


class Client(AsyncChatClient):
    """A client that answers by script: texts, events to wait for, and errors to raise.

    Attributes:
        asked: the arguments of each call.
        left: how many streams have ended or were closed.
        loops: the event loop of each stream.
    """

    def __init__(self, *answers: list[str | asyncio.Event | Exception]) -> None:
        super().__init__("127.0.0.1:1")
        self._answers = list(answers)
        self.asked: list[tuple[str, Any, Any]] = []
        self.left = 0
        self.loops: list[asyncio.AbstractEventLoop] = []

    def stream(self, model: str, messages: Any, **parameters: Any) -> AsyncChatStream:
        self.asked.append((model, messages, parameters))
        return AsyncChatStream(model, self._events(), lambda event: event)

    async def _events(self) -> AsyncGenerator[ChatEvent, None]:
        self.loops.append(asyncio.get_running_loop())
        try:
            for step in self._answers.pop(0):
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield event(step)
            yield event("", finish_reason="stop")
        finally:
            self.left += 1


class Person:
    """A person at the widget, who reads, types and clicks."""

    def __init__(self, widget: ChatWidget) -> None:
        self._lines, row = widget.widget.children
        self.question, self.send, self.stop = row.children
        self._changed = asyncio.Event()
        self._lines.observe(self._watch, "children")

    @property
    def reads(self) -> list[str]:
        return [line.value for line in self._lines.children]

    def ask(self, question: str) -> None:
        self.question.value = question
        self.send.click()

    async def until(self, *lines: str) -> None:
        async with asyncio.timeout(60):
            while self.reads != list(lines):
                self._changed.clear()
                await self._changed.wait()

    def _watch(self, change: Any) -> None:
        self._changed.set()
        for line in change.new:
            line.observe(lambda _: self._changed.set(), "value")


async def test_each_question_carries_the_conversation() -> None:
    client = Client(["**A**", "nswer"], ["Another."])
    widget = ChatWidget(client, "m", {"max_tokens": 9})
    person = Person(widget)
    person.ask("One <1>?")
    assert person.question.value == ""
    first = ("<b>One &lt;1&gt;?</b>", "<p><strong>A</strong>nswer</p>\n")
    await person.until(*first)
    person.question.value = " Two? "
    person.question._handle_custom_msg({"event": "submit"}, [])  # noqa: SLF001 - presses Enter
    await person.until(*first, "<b>Two?</b>", "<p>Another.</p>\n")
    one, answer = {"role": "user", "content": "One <1>?"}, {"role": "assistant", "content": "**A**nswer"}
    two = {"role": "user", "content": "Two?"}
    assert client.asked == [("m", [one], {"max_tokens": 9}), ("m", [one, answer, two], {"max_tokens": 9})]
    assert widget.conversation.messages == [one, answer, two, {"role": "assistant", "content": "Another."}]


async def test_the_stop_button_ends_the_answer_and_keeps_it() -> None:
    client = Client(["one <b>", asyncio.Event()])
    widget = ChatWidget(client, "m", {})
    person = Person(widget)
    assert (person.send.disabled, person.stop.disabled) == (False, True)
    person.ask("Count.")
    await person.until(
        "<b>Count.</b>", '<pre style="white-space: pre-wrap; overflow-wrap: anywhere">one &lt;b&gt;</pre>'
    )
    assert (person.send.disabled, person.stop.disabled, client.left) == (True, False, 0)
    person.ask("Never asked, while an answer comes.")
    person.stop.click()
    await person.until("<b>Count.</b>", "<p>one &lt;b&gt;</p>\n", "<i>stopped</i>")
    assert (person.send.disabled, person.stop.disabled, client.left, len(client.asked)) == (False, True, 1, 1)
    assert widget.conversation.messages[-1] == {"role": "assistant", "content": "one <b>"}


async def test_callbacks_of_another_thread_run_in_the_kernels_loop() -> None:
    """JupyterLab runs callbacks in a thread with its own event loop, and a client's connections need the kernel's."""

    async def heard(call: Callable[[], None]) -> None:
        call()

    client = Client(["begun", asyncio.Event()])
    person = Person(ChatWidget(client, "m", {}))
    await asyncio.to_thread(asyncio.run, heard(lambda: person.ask("Count.")))
    await person.until("<b>Count.</b>", '<pre style="white-space: pre-wrap; overflow-wrap: anywhere">begun</pre>')
    await asyncio.to_thread(asyncio.run, heard(person.stop.click))
    await person.until("<b>Count.</b>", "<p>begun</p>\n", "<i>stopped</i>")
    assert client.loops == [asyncio.get_running_loop()]


async def test_a_failure_is_said_and_forgotten() -> None:
    widget = ChatWidget(Client(["half", InferenceError("<broke>")], ["Fine."]), "m", {})
    person = Person(widget)
    person.ask("What?")
    failed = ("<b>What?</b>", "<p>half</p>\n", "<i>&lt;broke&gt;</i>")
    await person.until(*failed)
    person.ask("Well?")
    await person.until(*failed, "<b>Well?</b>", "<p>Fine.</p>\n")
    assert [message["content"] for message in widget.conversation.messages] == ["Well?", "Fine."]


async def test_nothing_is_asked_where_nothing_was_typed() -> None:
    client = Client()
    person = Person(ChatWidget(client, "m", {}))
    person.ask("  ")
    assert (client.asked, person.reads) == ([], [])


def test_a_synchronous_client_is_refused() -> None:
    client: Any = ChatClient("127.0.0.1:1")
    with client, pytest.raises(ChatCellError) as refused:
        chat(client, "m")
    assert str(refused.value) == (
        "chat needs an asynchronous client, because the stop button has no effect while a synchronous one waits: pass "
        "AsyncChatClient(mesh.address) or AsyncGrpcChatClient(mesh.grpc_address)"
    )


def test_a_program_that_runs_the_notebook_gets_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    chat(Client(), "m")
    assert capsys.readouterr().out == "Run this cell in JupyterLab to chat with m.\n"


def test_without_ipywidgets_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = SimpleNamespace(get_parent=lambda: {"content": {"allow_stdin": True}})
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ChatCellError) as refused:
        chat(Client(), "m")
    assert str(refused.value) == (
        "chat needs the package ipywidgets, which is not installed: run `make setup`, or "
        "`pip install 'llm-streaming[notebooks]'`"
    )
