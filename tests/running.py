"""Processes that tests look for."""

from pathlib import Path

import psutil


def processes_in(home: Path) -> list[psutil.Process]:
    """Every process that works in a mesh's private folder, or is asked to by its command line."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        places = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
        if any(str(home) in place for place in places):
            found.append(process)
    return found
