"""The messages of a conversation. A model does not remember requests, so each request contains all messages."""

from __future__ import annotations

from typing import Any


class Conversation:
    """The questions and answers of a conversation so far.

    A question is added together with its answer; a question without an answer is dropped.

    Args:
        system: instructions to the model, sent before the first question.

    Attributes:
        messages: the messages so far, in the format of OpenAI's API.
    """

    def __init__(self, system: str | None = None) -> None:
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        self._question: dict[str, Any] = {}

    def ask(self, question: str) -> list[dict[str, Any]]:
        """Return the messages to send to the model: the messages so far, followed by the question."""
        self._question = {"role": "user", "content": question}
        return [*self.messages, self._question]

    def answered(self, answer: str) -> None:
        """Add the last question and its answer to the messages; if the answer is empty, drop the question."""
        if answer:
            self.messages += [self._question, {"role": "assistant", "content": answer}]
