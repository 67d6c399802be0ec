"""Live answers on the page: each piece is visible before the next is sent, and buttons stop an answer."""

from pathlib import Path

from tests.browser.answers import Answer
from tests.support.scripted import Scripted
from tools.lab import Lab
from tools.notebook_page import ERROR, Cell

STDOUT = "application/vnd.jupyter.stdout"
CLIENT = """from llm_streaming import AsyncChatClient, ChatClient, GrpcChatClient
from llm_streaming.notebook import chat, show, show_side_by_side


def ask(client, question):
    return client.stream("scripted", [{{"role": "user", "content": question}}])


address = "{}"
"""


def see_grow(cell: Cell, answer: Answer, pieces: list[str]) -> None:
    """Send an answer's pieces, each when the previous one is on the page."""
    for piece in pieces:
        answer.step()
        cell.outputs.filter(has_text=piece.strip()).wait_for()


def test_the_interrupt_button_stops_a_stream(lab: Lab, scripted: Scripted, pictures: Path) -> None:
    pieces = [f"piece {number}, " for number in range(6)]
    answer = Answer(scripted, "interrupted", *pieces, "never sent")
    lab.write(
        "interrupt.ipynb",
        CLIENT.format(scripted.mesh.address),
        'show(ask(ChatClient(address), "interrupted"))',
        'print("still here")',
    )
    notebook = lab.open("interrupt.ipynb")
    client, endless, after = notebook.cells
    client.run()
    endless.start()
    see_grow(endless, answer, pieces)
    assert endless.running
    notebook.screenshot(pictures / "interrupt.growing.png")
    notebook.interrupt()
    endless.wait()
    scripted.wait_for_disconnection()
    after.run()
    notebook.screenshot(pictures / "interrupt.png")
    assert (endless.kinds, after.text) == ([STDOUT, ERROR], "still here\n")
    assert "StreamInterrupted" in endless.outputs.last.inner_text()
    assert endless.outputs.first.text_content() == "".join(pieces) + "\n"


def test_a_pretty_answer_is_rendered_at_its_end(lab: Lab, scripted: Scripted, pictures: Path) -> None:
    pieces = ["# A title\n\n", "Words that are **bold**, ", "`code`, ", "and *this*:\n\n", "- one\n", "- two\n"]
    answer = Answer(scripted, "pretty", *pieces)
    lab.write(
        "pretty.ipynb",
        CLIENT.format(scripted.mesh.address),
        'timing = show(ask(ChatClient(address), "pretty"), pretty=True)',
    )
    notebook = lab.open("pretty.ipynb")
    client, pretty = notebook.cells
    client.run()
    pretty.start()
    see_grow(pretty, answer, pieces)
    assert pretty.running
    notebook.screenshot(pictures / "pretty.growing.png")
    answer.step()
    pretty.wait()
    notebook.screenshot(pictures / "pretty.png")
    tags = {tag: pretty.outputs.locator(tag).all_inner_texts() for tag in ("h1", "strong", "code", "em", "li", "pre")}
    assert tags == {
        "h1": ["A title"],
        "strong": ["bold"],
        "code": ["code"],
        "em": ["this"],
        "li": ["one", "two"],
        "pre": [],
    }


def test_two_answers_grow_side_by_side(lab: Lab, scripted: Scripted, pictures: Path) -> None:
    pieces = {"HTTP": [f"left {number}, " for number in range(5)], "gRPC": [f"right {number}, " for number in range(5)]}
    answers = {label: Answer(scripted, label, *texts) for label, texts in pieces.items()}
    lab.write(
        "columns.ipynb",
        CLIENT.format(scripted.mesh.address),
        """clients = {"HTTP": ChatClient(address), "gRPC": GrpcChatClient(address)}
timings = show_side_by_side({name: ask(client, name) for name, client in clients.items()})""",
    )
    notebook = lab.open("columns.ipynb")
    client, columns = notebook.cells
    client.run()
    columns.start()
    for number in range(5):
        for label, answer in answers.items():
            answer.step()
            columns.outputs.locator("td", has_text=pieces[label][number].strip()).wait_for()
    assert columns.running
    notebook.screenshot(pictures / "side-by-side.growing.png")
    for answer in answers.values():
        answer.step()
    columns.wait()
    notebook.screenshot(pictures / "side-by-side.png")
    assert columns.outputs.locator("th").all_text_contents() == list(pieces)
    assert columns.outputs.locator("tr:nth-child(1) td").all_text_contents() == ["".join(p) for p in pieces.values()]


def test_a_chat_answers_and_stops(lab: Lab, scripted: Scripted, pictures: Path) -> None:
    pieces = [f"Piece {number}. " for number in range(6)]
    first = Answer(scripted, "Hello?", *pieces)
    second = Answer(scripted, "And then?", "Begun, ", "never sent")
    lab.write("chat.ipynb", CLIENT.format(scripted.mesh.address), f'chat(AsyncChatClient(address), "{scripted.model}")')
    notebook = lab.open("chat.ipynb")
    client, chat = notebook.cells
    client.run()
    chat.run()
    question = chat.outputs.get_by_placeholder("Ask something")
    send, stop = (chat.outputs.get_by_role("button", name=name) for name in ("Send", "Stop"))
    lines = chat.outputs.locator(".widget-html-content")

    question.fill("Hello?")
    send.click()
    for piece in pieces:
        first.step()
        lines.filter(has_text=piece.strip()).wait_for()
    notebook.screenshot(pictures / "chat.growing.png")
    first.step()

    send.and_(notebook.page.locator(":enabled")).wait_for()
    question.fill("And then?")
    question.press("Enter")
    second.step()
    lines.filter(has_text="Begun,").wait_for()
    stop.click()
    lines.filter(has_text="stopped").wait_for()
    scripted.wait_for_disconnection()
    notebook.screenshot(pictures / "chat.png")
    said = [line.strip() for line in lines.all_text_contents()]
    assert said == ["Hello?", "".join(pieces).strip(), "And then?", "Begun,", "stopped"]


def test_the_page_stays_usable_at_a_thousand_tokens_a_second(lab: Lab, pictures: Path) -> None:
    """The tokens continue until the test has typed into another cell, and created a file that says so."""
    lab.write(
        "fast.ipynb",
        """import time
from itertools import count
from pathlib import Path

from llm_streaming.notebook import show
from llm_streaming.protocol import ChatEvent


def tokens():
    started = time.perf_counter()
    for number in count():
        yield ChatEvent(f"{number}\\n" if number % 20 == 19 else f"{number} ", None, None, [], {})
        if number % 1000 == 999 and Path("typed").exists():
            return
        time.sleep(max(0, started + number / 1000 - time.perf_counter()))


show(tokens())""",
        "",
    )
    notebook = lab.open("fast.ipynb")
    fast, other = notebook.cells
    fast.start()
    fast.wait_for_growth(20)
    other.locator.locator(".jp-InputArea-editor").click()
    notebook.page.keyboard.type("typed while it streams")
    other.locator.get_by_text("typed while it streams").wait_for()
    assert fast.running
    notebook.screenshot(pictures / "fast.growing.png")
    (lab.project / "notebooks" / "typed").touch()
    fast.wait()
    notebook.screenshot(pictures / "fast.png")
    numbers = fast.outputs.first.inner_text().split()
    assert len(numbers) % 1000 == 0
    assert numbers == [str(number) for number in range(len(numbers))]
