"""A chat in a cell."""

from __future__ import annotations

import inspect
from typing import Any

from llm_streaming.errors import LLMStreamingError


class ChatCellError(LLMStreamingError):
    """A chat cannot be shown."""


def chat(client: Any, model: str, **parameters: Any) -> None:  # noqa: ANN401 - two clients, and OpenAI's parameters
    """Show a chat with a model, in JupyterLab: a box for questions, and a button that stops an answer.

    Where nobody can type, as in a notebook that a program executes, it only says what the cell is for.

    Args:
        client: an `AsyncChatClient` or `AsyncGrpcChatClient`, which leaves the kernel free to hear the button.
        model: the model's name.
        parameters: sampling parameters of each question.

    Raises:
        ChatCellError: the client is a synchronous one, or a package is not installed.
    """
    if not inspect.isasyncgenfunction(getattr(client, "stream", None)):
        raise ChatCellError(
            "chat needs an asynchronous client, or the stop button is not heard before the answer ends: give it "
            "AsyncChatClient(mesh.address) or AsyncGrpcChatClient(mesh.grpc_address)"
        )
    sentence = f"Run this cell in JupyterLab to chat with {model}."
    if not _is_attended():
        print(sentence)
        return
    try:
        from llm_streaming.notebook.chat_box import ChatBox
    except ModuleNotFoundError as error:
        raise ChatCellError(
            f"chat needs the package {error.name}, which is not installed: run `make setup`, or "
            "`pip install 'llm-streaming[notebooks]'`"
        ) from None
    from IPython.display import display

    widget = ChatBox(client, model, parameters).widget
    # A page that has no widgets, such as GitHub's, shows the sentence.
    display(widget._repr_mimebundle_() | {"text/plain": sentence}, raw=True)  # type: ignore[no-untyped-call]


def _is_attended() -> bool:
    """Whether somebody can type; a program that executes a notebook tells the kernel that nobody can."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent()["content"].get("allow_stdin"))
