"""YAML files that would take minutes or gigabytes, or whose errors would show a secret, are refused with a sentence."""

import re
import time
from pathlib import Path

import pytest

from llm_streaming.manifests.yaml_file import read_yaml

MANY = "there are more than 50,000 values, with those that aliases repeat"
WRONG_VALUE = "it has a character or a value that YAML does not allow"


def bomb(first: str, line: str) -> str:
    """Return 30 lines, each of which repeats the line before nine times."""
    lines = [line.format(number, ", ".join([f"*a{number - 1}"] * 9)) for number in range(1, 30)]
    return "\n".join([first, *lines])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (bomb("a0: &a0 [x]", "a{0}: &a{0} [{1}]"), f"line 6, column 20: {MANY}"),
        (bomb("a0: &a0 {x: 1}", "a{0}: &a{0} {{<<: [{1}]}}"), f"line 6, column 20: {MANY}"),
        ("a: &a [*a]", "line 1, column 8: a value contains itself"),
        ("a: &a\n  <<: *a", "line 2, column 7: a value contains itself"),
        ("[" * 100_000, "line 1, column 101: this is nested more than 100 deep"),
        ("{a: " * 100_000, "line 1, column 398: this is nested more than 100 deep"),
        ("- " * 100_000, "line 1, column 201: this is nested more than 100 deep"),
        ("[a, [" + "a," * 400_000, f"line 1, column 100004: {MANY}"),
        ("x" * 1_000_001, "it has more than 1,000,000 bytes"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key is already in this mapping"),
    ],
)
def test_a_file_that_exceeds_a_bound_is_refused_at_once(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    started = time.process_time()
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        read_yaml(path)
    assert time.process_time() - started < 10  # one second on a machine that is not busy


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no file without an end")
def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^it has more than 1,000,000 bytes$"):
        read_yaml(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("password: hunter2: x", "line 1, column 18: mapping values are not allowed here"),
        ("password: @hunter2", "line 1, column 11: found character '@' that cannot start any token"),
        ("password: *hunter2", "line 1, column 11: this is not YAML"),
        ("password: !hunter2 x", "line 1, column 11: this is not YAML"),
        ("password: !h!hunter2 x", "line 1, column 11: this is not YAML"),
        ("password: [hunter2", "line 1, column 19: this is not YAML"),
        ("{[hunter2]: x}", "line 1, column 2: this is not YAML"),
        ("password: !!int hunter2", WRONG_VALUE),
        ("password: !!float hunter2", WRONG_VALUE),
        ("password: !!timestamp hunter2", WRONG_VALUE),
        ("password: 2001-13-45", WRONG_VALUE),
        ("password: " + "9" * 5_000, WRONG_VALUE),
        ("password: hunter2\x01", WRONG_VALUE),
        ("password: \udcff", "it is not UTF-8"),
    ],
)
def test_an_error_quotes_nothing_of_the_file(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        read_yaml(path)


def test_aliases_within_the_bounds_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("a: &a {x: [1, 2]}\nb: *a\nc:\n  <<: *a\n  y: 3\n---\n---\nd: &a 4\ne: *a\n")
    shared = {"x": [1, 2]}
    assert read_yaml(path) == [{"a": shared, "b": shared, "c": {**shared, "y": 3}}, {"d": 4, "e": 4}]
    path.write_text("a: 1\na: 2")
    assert read_yaml(path, unique_keys=False) == [{"a": 2}]
