"""The messages of a conversation with a model. The model remembers nothing: each request carries all of them."""

from __future__ import annotations

from typing import Any


class Conversation:
    """What has been asked and answered so far.

    A question becomes part of the conversation with its answer; a question without an answer is dropped.

    Args:
        system: instructions that the model gets before all questions.

    Attributes:
        messages: the messages so far, in the form of OpenAI's API.
    """

    def __init__(self, system: str | None = None) -> None:
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
        self._question: dict[str, Any] = {}

    def ask(self, question: str) -> list[dict[str, Any]]:
        """Return the messages to send to the model: those so far and the question."""
        self._question = {"role": "user", "content": question}
        return [*self.messages, self._question]

    def answered(self, answer: str) -> None:
        """Remember the question that was asked last and its answer; if the answer is empty, drop the question."""
        if answer:
            self.messages += [self._question, {"role": "assistant", "content": answer}]
