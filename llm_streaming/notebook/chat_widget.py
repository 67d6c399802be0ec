"""The widget of a chat: a field for questions, buttons, and the conversation."""

from __future__ import annotations

import asyncio
import html
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any

import ipywidgets

from llm_streaming.client.base import AsyncClient
from llm_streaming.client.conversation import Conversation
from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook.live_output import PER_SECOND, GrowingText, escaped, markdown_renderer


class ChatWidget:
    """A field for questions below the conversation. Answers stream in the kernel's event loop, which stays free.

    JupyterLab runs widget callbacks in another thread, with another event loop: they must not use the client.

    Args:
        client: the client to ask with.
        model: the model's name.
        parameters: sampling parameters of every question.

    Attributes:
        widget: the widget to display.
        conversation: the questions and their answers. It keeps an answer that was stopped, and drops a question that
            failed.
    """

    def __init__(self, client: AsyncClient, model: str, parameters: dict[str, Any]) -> None:
        self._client = client
        self._model = model
        self._parameters = parameters
        self._render = markdown_renderer()
        self._loop = asyncio.get_running_loop()
        self._busy = False
        self._answering: Future[None] | None = None
        self._lines = ipywidgets.VBox()
        self._question = ipywidgets.Text(placeholder="Ask something", layout={"flex": "1"})
        self._send = ipywidgets.Button(description="Send")
        self._stop = ipywidgets.Button(description="Stop", disabled=True)
        self.widget = ipywidgets.VBox([self._lines, ipywidgets.HBox([self._question, self._send, self._stop])])
        self.conversation = Conversation()
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
        answer = GrowingText(lambda text: line.set_trait("value", escaped(text)), PER_SECOND)
        self._send.disabled, self._stop.disabled = True, False
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
            self._busy = False
            self._send.disabled, self._stop.disabled = False, True

    def _add_line(self, page: str) -> ipywidgets.HTML:
        line = ipywidgets.HTML(page)
        self._lines.children += (line,)
        return line
