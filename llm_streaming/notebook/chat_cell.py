"""A chat in a cell."""

from __future__ import annotations

import asyncio
import html
import inspect
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook.batcher import Batcher
from llm_streaming.notebook.output import PER_SECOND, escaped
from llm_streaming.protocol import ChatEvent


class ChatCellError(LLMStreamingError):
    """A chat cannot be shown."""


class _Client(Protocol):
    """An asynchronous client."""

    def stream(
        self,
        model: str,
        messages: list[dict[str, Any]],
        **parameters: Any,  # noqa: ANN401 - OpenAI's, of many types
    ) -> AsyncGenerator[ChatEvent, None]: ...


def chat(client: Any, model: str, **parameters: Any) -> None:  # noqa: ANN401 - clients, and OpenAI's parameters
    """Show a chat with a model, in JupyterLab: a box for questions, and a button that stops an answer.

    Where nobody can type, as in a notebook that a program executes, it only says what it is for.

    Args:
        client: an `AsyncChatClient` or `AsyncGrpcChatClient`, which leaves the kernel free to hear the button.
        model: the model's name.
        parameters: sampling parameters of each question.

    Raises:
        ChatCellError: the client is a synchronous one, or ipywidgets is not installed.
    """
    if not inspect.isasyncgenfunction(getattr(client, "stream", None)):
        raise ChatCellError(
            "chat needs an asynchronous client, or the stop button is not heard before the answer ends: give it "
            "AsyncChatClient(mesh.address) or AsyncGrpcChatClient(mesh.grpc_address)"
        )
    if not _is_attended():
        print(f"Run this cell in JupyterLab to chat with {model}.")
        return
    try:
        box = ChatBox(client, model, parameters).widget
    except ModuleNotFoundError:
        raise ChatCellError(
            "chat needs the package ipywidgets, which is not installed: run `make setup`, or "
            "`pip install 'llm-streaming[notebooks]'`"
        ) from None
    from IPython.display import display

    # Whoever opens the saved notebook finds no widget in it, and reads the text instead.
    bundle = box._repr_mimebundle_() | {"text/plain": f"Run this cell to chat with {model}."}
    display(bundle, raw=True)  # type: ignore[no-untyped-call]


def _is_attended() -> bool:
    """Whether somebody can type; who executes notebooks by program tells the kernel that nobody can."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent()["content"].get("allow_stdin"))


class ChatBox:
    """The chat's widgets, and what has been said. All of it happens in the kernel's event loop, step by step.

    Args:
        client: what reaches the model.
        model: the model's name.
        parameters: sampling parameters of each question.

    Attributes:
        widget: what to display.
        messages: the conversation, as OpenAI's API takes it.
    """

    def __init__(self, client: _Client, model: str, parameters: dict[str, Any]) -> None:
        import ipywidgets

        self._client = client
        self._model = model
        self._parameters = parameters
        self._answering: asyncio.Task[None] | None = None
        self._lines = ipywidgets.VBox()
        self._question = ipywidgets.Text(placeholder="Ask something", layout={"flex": "1"})
        self._send = ipywidgets.Button(description="Send")
        self._stop = ipywidgets.Button(description="Stop", disabled=True)
        self.widget = ipywidgets.VBox([self._lines, ipywidgets.HBox([self._question, self._send, self._stop])])
        self.messages: list[dict[str, Any]] = []
        self._question.on_msg(lambda _, content, __: self.ask() if content.get("event") == "submit" else None)
        self._send.on_click(lambda _: self.ask())
        self._stop.on_click(lambda _: self.stop())

    def ask(self) -> None:
        """Ask what is in the box, unless an answer is still coming."""
        question = self._question.value.strip()
        if question and not self._answering:
            self._question.value = ""
            self._answering = asyncio.get_running_loop().create_task(self._answer(question))

    def stop(self) -> None:
        """Stop the answer that is coming, and the generation with it."""
        if self._answering:
            self._answering.cancel()

    async def _answer(self, question: str) -> None:
        self._add_line(f"<b>{html.escape(question)}</b>")
        line = self._add_line("")
        answer = Batcher(lambda text: setattr(line, "value", escaped(text)), PER_SECOND)
        asked = {"role": "user", "content": question}
        self._send.disabled, self._stop.disabled = True, False
        try:
            events = self._client.stream(self._model, [*self.messages, asked], **self._parameters)
            async with aclosing(events):
                async for event in events:
                    answer.add(event.content)
            self._remember(asked, answer.text)
        except asyncio.CancelledError:
            self._remember(asked, answer.text)
            self._add_line("<i>stopped</i>")
        except LLMStreamingError as error:
            self._add_line(f"<i>{html.escape(str(error))}</i>")
        finally:
            answer.flush()
            self._answering = None
            self._send.disabled, self._stop.disabled = False, True

    def _remember(self, asked: dict[str, Any], answer: str) -> None:
        if answer:
            self.messages += [asked, {"role": "assistant", "content": answer}]

    def _add_line(self, page: str) -> Any:  # noqa: ANN401 - ipywidgets has no types
        from ipywidgets import HTML

        line = HTML(page)
        self._lines.children += (line,)
        return line
