"""Record the README's animation: an answer that grows in JupyterLab, at its real speed."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import papermill
from PIL import Image

from llm_streaming.paths import project_root
from tools.lab import jupyterlab
from tools.notebook_page import Cell, Notebook

NOTEBOOK = "01-openai-streaming.ipynb"
QUESTION = "What is streaming?"
"""A question that the small model answers in a few lines."""
TARGET = project_root() / "docs" / "images" / "streaming.gif"
INTERVAL = 0.05
"""Minimum time between frames in seconds; browsers slow down a GIF with shorter times."""
PAUSE = 3000
"""How long the animation shows the complete answer before it repeats, in milliseconds."""

Frame = tuple[float, Image.Image]
"""A time in seconds, and the picture that the browser showed from that time on."""


def main() -> None:
    """Run the first walkthrough up to its first stream, record the stream and write the animation."""
    with jupyterlab() as lab:
        path = str(lab.project / "notebooks" / NOTEBOOK)
        papermill.execute_notebook(path, path, {"question": QUESTION}, prepare_only=True)
        notebook = lab.open(NOTEBOOK, width=1310, height=600)
        for cell in notebook.cells:
            cell.run()  # the streaming cell too: its second run, without imports, is recorded
            if "connect_sse(" in cell.source:
                break
        frames = record(notebook, cell)
    write(frames)
    print(f"{TARGET.relative_to(project_root())}: {len(frames)} frames, {TARGET.stat().st_size // 1000} kB")


def record(notebook: Notebook, cell: Cell) -> list[Frame]:
    """Run a cell and record it.

    Returns:
        The recorded frames, cropped to the area that the cell covers at its end.
    """
    events: list[dict[str, Any]] = []
    session = notebook.page.context.new_cdp_session(notebook.page)

    def keep(event: dict[str, Any]) -> None:
        events.append(event)
        session.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})

    session.on("Page.screencastFrame", keep)
    cell.locator.evaluate("cell => cell.scrollIntoView()")
    session.send("Page.startScreencast", {"format": "png"})
    cell.start()
    started = time.time()  # earlier frames show the output of the first run
    cell.wait()
    session.send("Page.stopScreencast")
    box = cell.locator.bounding_box()
    assert box is not None  # noqa: S101 - the cell is visible
    left, top = round(box["x"]), round(box["y"])
    area = (left, top, round(box["x"] + box["width"]), round(box["y"] + box["height"]))
    frames = sorted((event["metadata"]["timestamp"], event["data"]) for event in events)
    return [(at, _image(data).crop(area)) for at, data in thin_out(frames) if at >= started]


def thin_out(frames: Sequence[tuple[float, Any]]) -> list[tuple[float, Any]]:
    """Return the last frame and as many earlier frames as `INTERVAL` allows."""
    kept = [frames[-1]]
    for frame in reversed(frames):
        if kept[-1][0] - frame[0] >= INTERVAL:
            kept.append(frame)
    return kept[::-1]


def write(frames: Sequence[Frame]) -> None:
    """Write the frames as a GIF, which counts the time between frames in hundredths of a second."""
    times, images = zip(*frames, strict=True)
    lengths = [10 * (after - before) for before, after in pairwise(round(100 * at) for at in times)]
    # All frames share one palette, made from one tall image, so that unchanged areas take no space in the file.
    width, height = images[0].size
    film = Image.new("RGB", (width, height * len(images)))
    for number, image in enumerate(images):
        film.paste(image, (0, height * number))
    film = film.quantize(256, Image.Quantize.MAXCOVERAGE)
    first, *others = (film.crop((0, top, width, top + height)) for top in range(0, film.height, height))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    first.save(TARGET, save_all=True, append_images=others, duration=[*lengths, PAUSE], loop=0, optimize=True)


def _image(data: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


if __name__ == "__main__":
    main()
