"""`tools.install_chromium` finds a Chromium, or says how to install one."""

import shutil
from pathlib import Path

import pytest

from tools.install_chromium import MISSING, find_chromium, main


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH; it is empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    return tmp_path


def program(path: Path) -> str:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_the_variable_goes_before_the_usual_names(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chrome = program(programs / "google-chrome")
    assert find_chromium() == chrome
    chromium = program(programs / "chromium")
    assert find_chromium() == chromium
    named = program(programs / "another")
    monkeypatch.setenv("CHROMIUM", named)
    assert find_chromium() == named
    main()  # installs nothing


def test_a_variable_that_names_no_program_is_an_error(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(programs / "chromium")
    monkeypatch.setenv("CHROMIUM", "/no/such/program")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == (
        "CHROMIUM is set to /no/such/program, but no such program exists: correct it or unset it."
    )


@pytest.mark.parametrize("system", ["without apt-get", "not as root"])
def test_a_message_says_that_it_cannot_be_installed(
    programs: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    if system == "not as root":
        program(programs / "apt-get")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert shutil.which("sudo") is None
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == MISSING
