"""``llm-streaming chat``: a conversation with a model, in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from llm_streaming.cli.options import ContextOption, NamespaceOption, TargetOption, chosen_mesh
from llm_streaming.doctor import Target
from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook import show

if TYPE_CHECKING:
    from llm_streaming.cli.conversation import Conversation


def chat(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="One question, answered and done; also from a pipe.")
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="What the model is told before all else.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Tokens of an answer at most; by default the model's own.")
    ] = None,
    target: TargetOption = Target.EMBEDDED,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Chat with a model. Ctrl-C stops an answer, Ctrl-D ends the chat."""
    from llm_streaming.cli.conversation import Conversation
    from llm_streaming.client.http import ChatClient

    parameters = {"max_tokens": max_tokens} if max_tokens else {}
    with chosen_mesh(target, namespace, context) as mesh, ChatClient(mesh.address) as client:
        conversation = Conversation(client, model, system, parameters)
        if prompt is None and sys.stdin.isatty():
            _converse(conversation)
            return
        question = (sys.stdin.read() if prompt is None else prompt).strip()
        if not question:
            raise typer.BadParameter("there is no question: give it as an argument, or through a pipe")
        show(conversation.ask(question))


def _converse(conversation: Conversation) -> None:
    """Ask what is typed until Ctrl-D. Neither Ctrl-C nor a failure ends the conversation."""
    import readline  # noqa: F401 - with it, `input` takes arrow keys and remembers lines

    while True:
        try:
            if question := input("> ").strip():
                show(conversation.ask(question))
        except KeyboardInterrupt:
            print(flush=True)
        except EOFError:
            print(flush=True)
            return
        except LLMStreamingError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
