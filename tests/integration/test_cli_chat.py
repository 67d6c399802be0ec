"""A chat in a terminal: the conversation is remembered, Ctrl-C stops an answer, and Ctrl-D ends the chat."""

import asyncio
import os
from collections.abc import Iterator

import pexpect
import pytest

from llm_streaming.connection import MESH_VARIABLE
from llm_streaming.mesh.remote.service import MeshService
from tests.support.command_line import COMMAND
from tests.support.provider import Reply, chunk, sse, streamed
from tests.support.scripted import Scripted


@pytest.fixture
def terminal(scripted: Scripted) -> Iterator[pexpect.spawn]:
    with MeshService(scripted.mesh) as service:
        environment = {**os.environ, MESH_VARIABLE: str(service.path), "TERM": "dumb"}
        terminal = pexpect.spawn(str(COMMAND), ["chat", "scripted"], env=environment, encoding="utf-8", timeout=60)
        terminal.expect_exact("> ")
        yield terminal
        terminal.sendeof()
        terminal.expect(pexpect.EOF)
        terminal.close()
    assert terminal.exitstatus == 0


def spoken(scripted: Scripted) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in scripted.last_request()["messages"]]


def test_each_question_carries_the_conversation(terminal: pexpect.spawn, scripted: Scripted) -> None:
    scripted.replies |= {"One?": streamed("A", "nswer."), "Two?": streamed("Another.")}
    terminal.sendline("One?")
    terminal.expect_exact("Answer.\r\n> ")
    terminal.sendline("")
    terminal.expect_exact("> ")
    terminal.sendline("Two?")
    terminal.expect_exact("Another.\r\n> ")
    assert spoken(scripted) == [("user", "One?"), ("assistant", "Answer."), ("user", "Two?")]


def test_ctrl_c_stops_the_answer_and_not_the_chat(terminal: pexpect.spawn, scripted: Scripted) -> None:
    scripted.replies |= {
        "Count.": Reply([sse(chunk({"content": "one"})), asyncio.Event()]),
        "Go on?": streamed("Yes."),
    }
    terminal.sendline("Count.")
    terminal.expect_exact("one")
    terminal.sendintr()
    terminal.expect_exact("> ")
    scripted.wait_for_disconnection()
    terminal.sendintr()  # at the prompt, Ctrl-C ends nothing
    terminal.expect_exact("> ")
    terminal.sendline("Go on?")
    terminal.expect_exact("Yes.\r\n> ")
    assert spoken(scripted) == [("user", "Count."), ("assistant", "one"), ("user", "Go on?")]


def test_a_failure_is_said_and_forgotten(terminal: pexpect.spawn, scripted: Scripted) -> None:
    scripted.replies["Well?"] = streamed("Fine.")
    terminal.sendline("What?")
    terminal.expect_exact("error: no script for this\r\n> ")
    terminal.sendline("Well?")
    terminal.expect_exact("Fine.\r\n> ")
    assert spoken(scripted) == [("user", "Well?")]
