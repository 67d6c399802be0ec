"""Control characters in text for a terminal or a log."""

import sys
import unicodedata
from typing import Any

import pytest

from llm_streaming.cli import main
from llm_streaming.cli.options import MeshOptions
from llm_streaming.errors import EngineError, InferenceError, LLMStreamingError, ManifestError, MeshError, ProtocolError
from llm_streaming.mesh.progress import report
from llm_streaming.notebook import show
from llm_streaming.printable import one_line, printable
from llm_streaming.protocol import ChatEvent
from tests.support.cluster import unmet
from tests.support.notebook_outputs import Outputs

SHOWN = {
    "a title": ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
    "a line that overwrites another": ("safe\rforged\b", r"safe\rforged\x08"),
    "a C1 control": ("\x9b31m", r"\x9b31m"),
    "delete": ("\x7f", r"\x7f"),
    "a bidirectional override": ("user\u202exe\u2066", r"user\u202exe\u2066"),
    "half a surrogate": ("\ud83d", r"\ud83d"),
}


@pytest.mark.parametrize(("text", "shown"), SHOWN.values(), ids=SHOWN)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    assert (printable(text), one_line(text)) == (shown, shown)


TITLE = "\x1b]0;owned\x07"
SAID = r"\x1b]0;owned\x07"


def test_a_models_text_does_not_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show([ChatEvent(text, None, None, [], {}) for text in (TITLE[:1], TITLE[1:], "\n\tgrüße")])
    assert capsys.readouterr().out == f"{SAID}\n\tgrüße\n"


def test_markdown_as_plain_text_does_not_control_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = Outputs(monkeypatch)
    show([ChatEvent(f"a{TITLE}", "stop", None, [], {})], pretty=True)
    assert outputs.only["text/plain"] == f"a{SAID}"


@pytest.mark.parametrize(
    "kind", [LLMStreamingError, ManifestError, MeshError, ProtocolError, EngineError, InferenceError]
)
def test_no_message_of_ours_controls_the_terminal(kind: type[LLMStreamingError]) -> None:
    assert str(kind(f"it failed: {TITLE}")) == f"it failed: {SAID}"


def test_progress_does_not_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report(f"model/{TITLE} created")
    assert capsys.readouterr().out == f"model/{SAID} created\n"


class HostileMesh:
    """A mesh whose log and whose models' conditions contain control characters."""

    def __enter__(self) -> "HostileMesh":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def logs(self, model: str) -> str:
        return f"a line\n{TITLE}{model}"

    def resources(self, kind: str) -> list[dict[str, Any]]:
        conditions = unmet("ModelFailed", f"it failed{TITLE}\nother   True")
        return [{"kind": kind, "metadata": {"name": "m"}, "status": {"conditions": conditions}}]

    def apply(self, manifest: object) -> None:  # noqa: ARG002 - as in `Mesh`
        raise MeshError(f"no{TITLE}")


@pytest.mark.parametrize(
    ("arguments", "status", "out", "err"),
    [
        (["logs", "m"], 0, f"a line\n{SAID}m\n", ""),
        (["get"], 0, f"NAME   READY   MESSAGE\nm      False   ModelFailed: it failed{SAID}\\nother   True\n", ""),
        (["apply", "-f", "manifests/openai-chat-completions.yaml"], 1, "", f"error: no{SAID}\n"),
    ],
    ids=["logs", "get", "an error"],
)
def test_commands_do_not_let_others_control_the_terminal(
    arguments: list[str], status: int, out: str, err: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(MeshOptions, "open", lambda _: HostileMesh())
    assert (main(arguments), *capsys.readouterr()) == (status, out, err)


def test_ordinary_text_stays() -> None:
    text = "grüße 👩‍🔬 \u00a0 سلام\n\tend \\x1b"
    assert printable(text) == text
    assert one_line(text) == text.replace("\n", r"\n").replace("\t", r"\t")


def test_every_control_character_of_unicode_is_shown() -> None:
    bidirectional = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    controls = [
        each
        for each in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(each) in ("Cc", "Cs") or unicodedata.bidirectional(each) in bidirectional
    ]
    assert [each for each in controls if printable(each) == each] == ["\t", "\n"]
    assert [each for each in controls if one_line(each) == each] == []
