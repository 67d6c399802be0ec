"""Reads the stages of a Dockerfile, and the instructions of each stage in order."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

_COMMENT = re.compile(r"^\s*#.*\n", re.MULTILINE)
_CONTINUED = re.compile(r"\\\n\s*")  # the end of a line that continues in the next


@dataclass
class Stage:
    """A stage, ``FROM base AS name``; its steps are pairs of an instruction's first word and the rest."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str:
        """Return the rest of the stage's last instruction with this first word."""
        return [rest for word, rest in self.steps if word == instruction][-1]


def read(path: Path) -> dict[str, Stage]:
    """Return the stages of a Dockerfile by name."""
    stages: dict[str, Stage] = {}
    for line in _CONTINUED.sub(" ", _COMMENT.sub("", path.read_text())).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = Stage(name, base)
        elif stages and word:
            list(stages.values())[-1].steps.append((word, rest))
    return stages


def command(stage: Stage) -> list[str]:
    """Return the command that a container of the stage runs."""
    return list(json.loads(stage.last("CMD")))


def health_check(stage: Stage) -> list[str]:
    """Return the command that tells whether a container of the stage is healthy."""
    return list(json.loads(stage.last("HEALTHCHECK").partition(" CMD ")[2]))


def environment(stage: Stage) -> dict[str, str]:
    """Return the environment variables that the stage sets."""
    pairs = (pair.partition("=") for word, rest in stage.steps if word == "ENV" for pair in rest.split())
    return {name: value for name, _, value in pairs}
