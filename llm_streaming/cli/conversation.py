"""A conversation with a model, which remembers nothing: each question carries all that was said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llm_streaming.client.http import ChatClient
from llm_streaming.errors import LLMStreamingError
from llm_streaming.protocol import ChatEvent


class Conversation:
    """What has been said so far.

    Args:
        client: what reaches the model.
        model: the model's name.
        system: what the model is told before all else.
        parameters: sampling parameters of each question.

    Attributes:
        messages: as OpenAI's API takes them.
    """

    def __init__(self, client: ChatClient, model: str, system: str | None, parameters: dict[str, Any]) -> None:
        self._client = client
        self._model = model
        self._parameters = parameters
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []

    def ask(self, question: str) -> Iterator[ChatEvent]:
        """Yield the answer's events; what came of an answer is remembered, also if its reader leaves early.

        Raises:
            LLMStreamingError: the call failed, and is forgotten.
        """
        asked = {"role": "user", "content": question}
        answer, failed = "", False
        try:
            for event in self._client.stream(self._model, [*self.messages, asked], **self._parameters):
                answer += event.content
                yield event
        except LLMStreamingError:
            failed = True
            raise
        finally:
            if answer and not failed:
                self.messages += [asked, {"role": "assistant", "content": answer}]
