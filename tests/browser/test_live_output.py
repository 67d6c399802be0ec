"""What a reader sees and does while an answer comes: it grows, it can be stopped, and the page stays usable."""

import asyncio
from pathlib import Path

from tests.integration.scripted import Scripted
from tests.provider import Reply, chunk, sse
from tools.lab import Lab

ERROR = "application/vnd.jupyter.error"
STDOUT = "application/vnd.jupyter.stdout"


def test_the_interrupt_button_stops_a_stream(lab: Lab, scripted: Scripted, pictures: Path) -> None:
    tokens = [f"word {number} " for number in range(10)]
    steps = [sse(chunk({"content": token})) for token in tokens]
    scripted.replies["Begin, and do not end."] = Reply([*steps, asyncio.Event()])
    lab.write(
        "interrupt.ipynb",
        f"""from llm_streaming import ChatClient
from llm_streaming.notebook import show

client = ChatClient("{scripted.mesh.address}")
show(client.stream("{scripted.model}", [{{"role": "user", "content": "Begin, and do not end."}}]))""",
        "print('still here')",
    )
    notebook = lab.open("interrupt.ipynb")
    endless, after = notebook.cells
    endless.start()
    endless.outputs.filter(has_text=tokens[-1].strip()).wait_for()
    assert endless.running
    notebook.screenshot(pictures / "interrupt.before.png")
    notebook.interrupt()
    endless.wait()
    scripted.wait_for_disconnection()
    after.start()
    after.wait()
    notebook.screenshot(pictures / "interrupt.png")
    assert (endless.kinds, after.text) == ([STDOUT, ERROR], "still here\n")
    assert endless.outputs.first.text_content() == "".join(tokens) + "\n"


def test_the_page_stays_usable_at_a_thousand_tokens_a_second(lab: Lab, pictures: Path) -> None:
    """It streams until the reader has typed something, which is told by a file."""
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
        yield ChatEvent(content=f"{number}\\n" if number % 20 == 19 else f"{number} ")
        if Path("typed").exists() and number % 1000 == 999:
            return
        time.sleep(max(0, started + number / 1000 - time.perf_counter()))


timing = show(tokens())""",
        "",
        "print(round(timing.tokens_per_second))",
    )
    notebook = lab.open("fast.ipynb")
    fast, typed, speed = notebook.cells
    fast.start()
    fast.wait_for_growth(20)
    typed.locator.locator(".jp-InputArea-editor").click()
    notebook.page.keyboard.type("typed while it streams")
    typed.locator.get_by_text("typed while it streams").wait_for()
    assert fast.running
    notebook.screenshot(pictures / "fast.growing.png")
    (lab.project / "notebooks" / "typed").touch()
    fast.wait()
    speed.start()
    speed.wait()
    notebook.screenshot(pictures / "fast.png")
    count = len(fast.text.split())
    assert count % 1000 == 0
    assert fast.text.split() == [str(number) for number in range(count)]
    print(count, "tokens at", speed.text.strip(), "a second, seen at", len(fast.lengths), "lengths")
