"""Shows a chat with a model in a notebook: the function `chat` and the widget that it displays."""

from __future__ import annotations

import asyncio
import html
from concurrent.futures import Future
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from llm_streaming.client.base import AsyncClient, SyncClient
from llm_streaming.client.conversation import Conversation
from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook.live_output import GrowingText, escaped, markdown_renderer

if TYPE_CHECKING:
    from ipywidgets import HTML


class ChatCellError(LLMStreamingError):
    """A chat cannot be shown."""


def chat(client: AsyncClient, model: str, **parameters: Any) -> None:  # noqa: ANN401 - OpenAI's parameters
    """Show a chat with a model in JupyterLab: a field for questions, and a button that stops an answer.

    If a program executes the notebook, nobody can type, so the cell prints one sentence instead.

    Args:
        client: an `AsyncChatClient` or `AsyncGrpcChatClient`.
        model: the model's name.
        parameters: sampling parameters for every answer.

    Raises:
        ChatCellError: the client is synchronous, or ipywidgets is not installed.
        LLMStreamingError: markdown-it-py is not installed.
    """
    if isinstance(client, SyncClient):  # type: ignore[unreachable] # notebooks have no type checker
        raise ChatCellError(
            "chat needs an asynchronous client, because the stop button has no effect while a synchronous one waits: "
            "pass AsyncChatClient(mesh.address) or AsyncGrpcChatClient(mesh.grpc_address)"
        )
    sentence = f"Run this cell in JupyterLab to chat with {model}."
    if not _is_interactive():
        print(sentence)
        return
    from IPython.display import display

    try:
        widget = ChatWidget(client, model, parameters).widget
    except ModuleNotFoundError as error:
        raise ChatCellError(
            f"chat needs the package {error.name}, which is not installed: run `make setup`, or "
            "`pip install 'llm-streaming[notebooks]'`"
        ) from None
    # Pages without widgets, such as GitHub's, show the sentence.
    display(widget._repr_mimebundle_() | {"text/plain": sentence}, raw=True)


def _is_interactive() -> bool:
    """Return whether a person can type. A program that executes a notebook tells the kernel that it sends no input."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent()["content"].get("allow_stdin"))


class ChatWidget:
    """The conversation above a field for questions. Answers stream in the kernel's event loop without blocking it.

    JupyterLab runs widget callbacks in another thread, with another event loop, where they must not use the client.

    Attributes:
        widget: the widget to display.
        conversation: the questions and their answers. A stopped answer is kept; a question whose answer failed is
            removed.
    """

    def __init__(self, client: AsyncClient, model: str, parameters: dict[str, Any]) -> None:
        from ipywidgets import Button, HBox, Text, VBox

        self._client, self._model, self._parameters = client, model, parameters
        self._render = markdown_renderer()
        self._loop = asyncio.get_running_loop()
        self._answering: Future[None] = Future()
        self._lines = VBox()
        self._question = Text(placeholder="Ask something", layout={"flex": "1"})
        self._send = Button(description="Send")
        self._stop = Button(description="Stop", disabled=True)
        self.widget = VBox([self._lines, HBox([self._question, self._send, self._stop])])
        self.conversation = Conversation()
        self._question.on_msg(lambda _, content, __: self._ask() if content == {"event": "submit"} else None)  # Enter
        self._send.on_click(lambda _: self._ask())
        self._stop.on_click(lambda _: self._answering.cancel())

    def _ask(self) -> None:
        question = self._question.value.strip()
        if question and not self._send.disabled:
            self._send.disabled = True
            self._question.value = ""
            self._answering = asyncio.run_coroutine_threadsafe(self._answer(question), self._loop)

    async def _answer(self, question: str) -> None:
        self._add_line(f"<b>{html.escape(question)}</b>")
        line = self._add_line("")
        answer = GrowingText(lambda text: line.set_trait("value", escaped(text)))
        self._stop.disabled = False
        try:
            events = self._client.stream(self._model, self.conversation.ask(question), **self._parameters)
            async with aclosing(events):
                async for event in events:
                    answer.add(event.content)
            self.conversation.answered(answer.text)
        except asyncio.CancelledError:
            self.conversation.answered(answer.text)
            self._add_line("<i>stopped</i>")
        except LLMStreamingError as error:
            self._add_line(f"<i>{html.escape(str(error))}</i>")
        finally:
            line.value = self._render(answer.text)
            self._send.disabled, self._stop.disabled = False, True

    def _add_line(self, page: str) -> HTML:
        from ipywidgets import HTML

        line = HTML(page)
        self._lines.children += (line,)
        return line
