"""``llm-streaming chat``: a conversation with a model in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from typer import Argument, BadParameter, Option

from llm_streaming.cli.options import MeshOptions, with_mesh_options
from llm_streaming.client.conversation import Conversation
from llm_streaming.errors import LLMStreamingError
from llm_streaming.notebook import show
from llm_streaming.protocol import ChatEvent


@with_mesh_options
def chat(
    options: MeshOptions,
    model: Annotated[str, Argument(metavar="MODEL", help="The model's name.")],
    prompt: Annotated[
        str | None, Argument(metavar="PROMPT", help="One question, given here or by a pipe; by default, a chat.")
    ] = None,
    system: Annotated[str | None, Option(metavar="TEXT", help="The system prompt: instructions for the model.")] = None,
    max_tokens: Annotated[
        int | None, Option(metavar="N", min=1, help="The maximum tokens per answer; by default the model's limit.")
    ] = None,
) -> None:
    """Chat with a model. Ctrl-C stops an answer, Ctrl-D ends the chat."""
    from llm_streaming.client.http import ChatClient

    parameters: dict[str, Any] = {"max_tokens": max_tokens} if max_tokens else {}
    conversation = Conversation(system)
    with options.open() as mesh, ChatClient(mesh.address) as client:

        def answer(question: str) -> Iterator[ChatEvent]:
            """Yield the answer's events. A complete or stopped answer joins the conversation; a failed one does not."""
            text = ""
            try:
                with client.stream(model, conversation.ask(question), **parameters) as events:
                    for event in events:
                        text += event.content
                        yield event
            except LLMStreamingError:
                text = ""
                raise
            finally:
                conversation.answered(text)

        if prompt is None and sys.stdin.isatty():
            _chat_until_end(answer)
            return
        question = (sys.stdin.read() if prompt is None else prompt).strip()
        if not question:
            raise BadParameter("there is no question: give one as an argument or through a pipe")
        show(answer(question))


def _chat_until_end(answer: Callable[[str], Iterator[ChatEvent]]) -> None:
    """Answer each line that the user types, until Ctrl-D. Neither Ctrl-C nor a failure ends the chat."""
    import readline  # noqa: F401 - it gives `input` arrow keys and a history

    while True:
        try:
            if question := input("> ").strip():
                show(answer(question))
        except KeyboardInterrupt:
            print(flush=True)
        except EOFError:
            print(flush=True)
            return
        except LLMStreamingError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
