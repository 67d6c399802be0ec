"""The function `chat`, which shows a chat with a model in a notebook's cell."""

from __future__ import annotations

from typing import Any

from llm_streaming.client.base import AsyncClient, SyncClient
from llm_streaming.errors import LLMStreamingError


class ChatCellError(LLMStreamingError):
    """A chat cannot be shown."""


def chat(client: AsyncClient, model: str, **parameters: Any) -> None:  # noqa: ANN401 - OpenAI's parameters
    """Show a chat with a model in JupyterLab: a field for questions, and a button that stops an answer.

    Where a program executes the notebook, nobody can type: the cell then prints one sentence instead.

    Args:
        client: an `AsyncChatClient` or `AsyncGrpcChatClient`.
        model: the model's name.
        parameters: sampling parameters of every question.

    Raises:
        ChatCellError: the client is synchronous, or a package is not installed.
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
    try:
        from llm_streaming.notebook.chat_widget import ChatWidget
    except ModuleNotFoundError as error:
        raise ChatCellError(
            f"chat needs the package {error.name}, which is not installed: run `make setup`, or "
            "`pip install 'llm-streaming[notebooks]'`"
        ) from None
    from IPython.display import display

    widget = ChatWidget(client, model, parameters).widget
    # Pages without widgets, such as GitHub's, show the sentence.
    display(widget._repr_mimebundle_() | {"text/plain": sentence}, raw=True)


def _is_interactive() -> bool:
    """Whether a person can type; a program that executes a notebook tells the kernel that it takes no input."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent()["content"].get("allow_stdin"))
