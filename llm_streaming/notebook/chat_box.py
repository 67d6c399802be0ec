"""The widgets of a chat, and what has been said."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, Protocol

import ipywidgets

from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook.batcher import Batcher
from llm_streaming.notebook.output import PER_SECOND, escaped
from llm_streaming.notebook.pretty import rendered
from llm_streaming.protocol import ChatEvent


class AsyncClient(Protocol):
    """What `AsyncChatClient` and `AsyncGrpcChatClient` have in common."""

    def stream(
        self,
        model: str,
        messages: list[dict[str, Any]],
        **parameters: Any,  # noqa: ANN401 - OpenAI's, of many types
    ) -> AsyncGenerator[ChatEvent, None]:
        """Yield the answer's events as they come."""


class ChatBox:
    """A box for questions above which the conversation grows. It answers in the kernel's event loop and blocks nothing.

    JupyterLab has the kernel hear widgets in a thread with an event loop of its own, of which a client that is used in
    the kernel's must know nothing.

    Args:
        client: what reaches the model.
        model: the model's name.
        parameters: sampling parameters of each question.

    Attributes:
        widget: what to display.
        messages: what was asked and answered, as OpenAI's API takes it. An answer that was stopped counts, and a
            question that failed does not.
    """

    def __init__(self, client: AsyncClient, model: str, parameters: dict[str, Any]) -> None:
        self._client = client
        self._model = model
        self._parameters = parameters
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self._answering: Future[None] | None = None
        self._lines = ipywidgets.VBox()
        self._question = ipywidgets.Text(placeholder="Ask something", layout={"flex": "1"})
        self._send = ipywidgets.Button(description="Send")
        self._stop = ipywidgets.Button(description="Stop", disabled=True)
        self.widget = ipywidgets.VBox([self._lines, ipywidgets.HBox([self._question, self._send, self._stop])])
        self.messages: list[dict[str, Any]] = []
        self._question.on_msg(lambda _, content, __: self._ask() if content == {"event": "submit"} else None)  # Enter
        self._send.on_click(lambda _: self._ask())
        self._stop.on_click(lambda _: self._answering.cancel() if self._answering else None)

    def _ask(self) -> None:
        question = self._question.value.strip()
        if question and not self._busy:
            self._busy = True
            self._question.value = ""
            self._answering = asyncio.run_coroutine_threadsafe(self._answer(question), self._loop)

    async def _answer(self, question: str) -> None:
        self._add_line(f"<b>{html.escape(question)}</b>")
        line = self._add_line("")
        answer = Batcher(lambda text: line.set_trait("value", escaped(text)), PER_SECOND)
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
            line.value = rendered(answer.text)
            self._busy = False
            self._send.disabled, self._stop.disabled = False, True

    def _remember(self, asked: dict[str, Any], answer: str) -> None:
        if answer:
            self.messages += [asked, {"role": "assistant", "content": answer}]

    def _add_line(self, page: str) -> ipywidgets.HTML:
        line = ipywidgets.HTML(page)
        self._lines.children += (line,)
        return line
