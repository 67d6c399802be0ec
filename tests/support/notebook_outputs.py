"""Test doubles for notebooks: one keeps the displayed outputs, the other streams scripted texts."""

from collections.abc import Callable, Iterator
from typing import Any

import IPython.display
import pytest

from llm_streaming.protocol import ChatEvent

Bundle = dict[str, str]


class Outputs:
    """Keeps the displayed outputs, in place of IPython.

    Attributes:
        by_id: the outputs by their ids.
        updates: how often an output was replaced.
        on_update: called before an output is replaced.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.by_id: dict[str, Bundle] = {}
        self.updates = 0
        self.on_update: Callable[[], Any] = lambda: None
        patch.setattr(IPython.display, "display", self._display)
        patch.setattr(IPython.display, "update_display", self._update)

    @property
    def only(self) -> Bundle:
        """The only output."""
        (bundle,) = self.by_id.values()
        return bundle

    def _display(self, bundle: Bundle, *, raw: bool, display_id: str) -> None:
        assert raw
        assert display_id not in self.by_id
        self.by_id[display_id] = bundle

    def _update(self, bundle: Bundle, *, raw: bool, display_id: str) -> None:
        self.on_update()
        assert raw
        assert display_id in self.by_id
        self.by_id[display_id] = bundle
        self.updates += 1


class Script:
    """A scripted stream of texts; it raises an exception that stands among them.

    Attributes:
        given: the texts that were read.
        closed: whether the stream has ended or was closed.
    """

    def __init__(self, *steps: str | BaseException) -> None:
        self._steps = steps
        self.given: list[str] = []
        self.closed = False

    def stream(self) -> Iterator[ChatEvent]:
        try:
            for step in self._steps:
                if isinstance(step, BaseException):
                    raise step
                self.given.append(step)
                yield event(step)
            yield event("", finish_reason="stop", usage={"completion_tokens": len(self._steps)})
        finally:
            self.closed = True


def event(text: str, **more: Any) -> ChatEvent:
    """Make an event with this text; `more` holds other fields of the event."""
    return ChatEvent(**{"content": text, "finish_reason": None, "usage": None, "tool_calls": [], "raw": {}} | more)
