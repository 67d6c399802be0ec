"""Interrupting a cell or stopping a chat's answer, in a real kernel, ends the generation and keeps the text."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

from llm_streaming.mesh.base import Mesh
from tests.conftest import CPU
from tests.integration.test_leaving import active, is_idle

Content = dict[str, Any]

STOPPED = "StreamInterrupted: the cell was interrupted and the generation stopped; the text that had arrived is shown"
ENDLESS = "max_tokens=1500, ignore_eos=True"


class Notebook:
    """Runs cells in a kernel, as JupyterLab does."""

    def __init__(self) -> None:
        self._manager, self._client = start_new_kernel(kernel_name="python3")

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def run(self, code: str, *, attended: bool = False) -> list[tuple[str, Content]]:
        """Run a cell to its end, and return the types and contents of its messages."""
        return list(self.messages(self._client.execute(code, allow_stdin=attended)))

    def start(self, code: str) -> Iterator[tuple[str, Content]]:
        return self.messages(self._client.execute(code))

    def messages(self, request: str | None = None) -> Iterator[tuple[str, Content]]:
        """Yield the messages about a request up to its end, or without a request all messages."""
        while True:
            message = self._client.get_iopub_msg(timeout=60)
            if request and message["parent_header"].get("msg_id") != request:
                continue
            if request and message["content"].get("execution_state") == "idle":
                return
            if message["msg_type"] not in ("status", "execute_input"):
                yield message["msg_type"], message["content"]

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def send(self, widget: str, **data: Any) -> None:
        """Send the kernel an action of a person on a widget."""
        message = self._client.session.msg("comm_msg", {"comm_id": widget, "data": data})
        self._client.shell_channel.send(message)


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    notebook = Notebook()
    yield notebook
    notebook.close()


def streams(mesh: Mesh, kinds: str) -> tuple[str, str]:
    """Return code that makes the clients, and the call with a stream of each."""
    question = [{"role": "user", "content": "Count."}]
    makes = "from llm_streaming import ChatClient, GrpcChatClient\nfrom llm_streaming.notebook import *\n"
    makes += f"http, grpc = ChatClient({mesh.address!r}), GrpcChatClient({mesh.grpc_address!r})\n"
    asked = {kind: f"{kind}.stream({CPU!r}, {question!r}, {ENDLESS})" for kind in ("http", "grpc")}
    return makes, kinds.format(**asked)


@pytest.mark.parametrize(
    "call",
    ["show({http})", "show({grpc})", "show({http}, pretty=True)", "show_side_by_side({{'a': {http}, 'b': {grpc}}})"],
    ids=["plain", "grpc", "pretty", "side by side"],
)
def test_stopping_the_cell_ends_the_generation(notebook: Notebook, mesh: Mesh, call: str) -> None:
    makes, call = streams(mesh, call)
    notebook.run(makes)
    shown, printed, interrupted, errors = "", "", False, []
    for kind, content in notebook.start(call):
        if kind == "stream":
            printed += content["text"]
        elif kind == "update_display_data":
            shown = content["data"]["text/plain"]
        elif kind == "error":
            errors.append(content["traceback"])
        if len(printed + shown) > 100 and not interrupted:
            interrupted = True
            notebook.interrupt()
    assert errors == [[STOPPED]]
    assert is_idle(mesh, "local", CPU)
    ((_, said),) = notebook.run("import sys\nprint(sys.last_value.partial, end='')")
    if "side_by_side" in call:
        [texts] = re.findall(r"\Aa\n(.*)\n\(first token.*\)\n\nb\n(.*)\n\(first token.*\)\Z", shown, re.DOTALL)
        assert said["text"] == str(dict(zip("ab", texts, strict=True)))
    else:
        assert said["text"] == (shown or printed.removesuffix("\n"))


def test_the_stop_button_of_a_chat_ends_the_generation(notebook: Notebook, mesh: Mesh) -> None:
    makes = "from llm_streaming import AsyncChatClient\nfrom llm_streaming.notebook import chat\n"
    opened = notebook.run(f"{makes}chat(AsyncChatClient({mesh.address!r}), {CPU!r}, {ENDLESS})", attended=True)
    widgets = {}
    for kind, content in opened:
        if kind == "comm_open":
            state = content["data"]["state"]
            widgets[state.get("description") or state.get("placeholder")] = content["comm_id"]
    assert opened[-1][1]["data"]["text/plain"] == f"Run this cell in JupyterLab to chat with {CPU}."
    notebook.send(widgets["Ask something"], method="update", state={"value": "Count."})
    notebook.send(widgets["Send"], method="custom", content={"event": "click"})
    texts = (
        str(content["data"]["state"].get("value"))
        for kind, content in notebook.messages()
        if kind in ("comm_open", "comm_msg") and "state" in content.get("data", {})
    )
    assert any(len(text) > 300 for text in texts)
    assert active(mesh, "local", CPU) == 1
    notebook.send(widgets["Stop"], method="custom", content={"event": "click"})
    assert "<i>stopped</i>" in texts
    assert is_idle(mesh, "local", CPU)


def test_a_chat_that_a_program_runs_is_a_sentence(notebook: Notebook) -> None:
    makes = "from llm_streaming import AsyncChatClient\nfrom llm_streaming.notebook import chat\n"
    said = notebook.run(f"{makes}chat(AsyncChatClient('127.0.0.1:1'), 'm')")
    assert said == [("stream", {"name": "stdout", "text": "Run this cell in JupyterLab to chat with m.\n"})]
