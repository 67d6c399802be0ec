"""What a provider can break: a table of what it does, and what every client is told, streamed and whole.

`tests/integration/test_failures.py` has the failures that providers report; here they break HTTP itself, or never end.
"""

import json
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import pytest

from llm_streaming.manifests import Model
from tests.integration.test_failures import BROKE_OFF, SO_FAR, Case, expected_of, failure_of
from tests.support.doors import DOORS
from tests.support.provider import CUT, Reply
from tests.support.scripted import Scripted

UNREACHABLE = "unreachable"
"""A model whose provider's port is closed."""

NO_CONNECTION = "Cannot reach the provider at 127.0.0.1:1: check OPENAI_BASE_URL and that the server is running."
NO_HTTP = "The provider sent something that is not HTTP."
TOO_LONG = "The provider sent an event of more than 4 MB."
ENDED = "The provider ended the stream before the answer was complete."
HTML = {"content-type": "text/html"}


class Endless:
    """The steps of a reply with a line that never ends."""

    def __iter__(self) -> Iterator[Any]:
        yield SO_FAR
        yield b"data: "
        yield from repeat(b"x" * 2**16)


LOST = (502, "connection_error")
CASES = {
    "refuses the connection": Case(Reply(), NO_CONNECTION, *LOST, model=UNREACHABLE),
    "closes before the headers": Case(Reply(broken_head=b""), BROKE_OFF, *LOST),
    "closes in the headers": Case(Reply(broken_head=b"HTTP/1.1 200 O"), BROKE_OFF, *LOST),
    "sends no HTTP": Case(Reply(broken_head=b"\x00\xff\r\n\r\n"), NO_HTTP, *LOST),
    "closes in an event": Case(
        Reply([SO_FAR, b'data: {"choices":[', CUT]), BROKE_OFF, *LOST, "so far", whole=Reply([b'{"choices":[', CUT])
    ),
    "closes in a line": Case(Reply([SO_FAR, b"da", CUT]), BROKE_OFF, *LOST, "so far", whole=Reply([b"{", CUT])),
    "sends a page": Case(Reply([b"<html>Log in!</html>\n\n"], headers=HTML), ENDED, 502, "server_error"),
    "sends a line without end": Case(Reply(Endless()), TOO_LONG, 502, "server_error", "so far"),
}
ONLY_STREAMED = ("sends a page", "sends a line without end")
ROWS = [
    (name, kind, mode)
    for name in CASES
    for kind in DOORS
    for mode in ("stream", "complete")
    if mode == "stream" or name not in ONLY_STREAMED
]


@pytest.fixture(scope="module")
def scripted_and_unreachable(scripted: Scripted) -> Scripted:
    """The scripted mesh with one more model, whose provider's port is closed."""
    config = {"model_id": "gpt", "max_retries": 0, "base_url": "http://127.0.0.1:1/v1"}
    settings = {"implementation": "mlserver_llm_api.LLMRuntime", "parameters": {"extra": {"config": config}}}
    folder = scripted.mesh.models / UNREACHABLE
    folder.mkdir()
    (folder / "model-settings.json").write_text(json.dumps(settings))
    scripted.mesh.apply(Model(name=UNREACHABLE, storage_uri=f"models/{UNREACHABLE}", requirements=("scripted",)))
    scripted.mesh.wait(UNREACHABLE)
    return scripted


@pytest.mark.parametrize(("name", "kind", "mode"), ROWS)
def test_every_client_is_told_what_the_provider_did(
    scripted_and_unreachable: Scripted, name: str, kind: str, mode: str
) -> None:
    case = CASES[name]
    text = f"{name} {kind} {mode}"
    reply = case.whole if mode == "complete" and case.whole else case.streamed
    scripted_and_unreachable.replies[text] = reply
    assert failure_of(kind, mode, scripted_and_unreachable, text, case.model) == expected_of(case, kind, mode)


def test_a_provider_that_breaks_leaves_no_traceback(scripted_and_unreachable: Scripted) -> None:
    assert "Traceback" not in scripted_and_unreachable.log()
