"""A Dockerfile, read as far as tests ask: its stages, and what each does, in order."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

# A comment, or a line that goes on in the next.
_COMMENT = re.compile(r"^\s*#.*\n", re.MULTILINE)
_CONTINUED = re.compile(r"\\\n\s*")


@dataclass
class Stage:
    """``FROM base AS name``, and the instructions after it: their first word, and the rest."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str:
        return [rest for word, rest in self.steps if word == instruction][-1]


def read(path: Path) -> dict[str, Stage]:
    """The stages of a Dockerfile, by name."""
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
    """What a container of a stage runs."""
    return list(json.loads(stage.last("CMD")))


def health_check(stage: Stage) -> list[str]:
    """What tells whether a container of a stage is well."""
    return list(json.loads(stage.last("HEALTHCHECK").partition(" CMD ")[2]))


def environment(stage: Stage) -> dict[str, str]:
    """The variables that a stage sets."""
    pairs = (pair.partition("=") for word, rest in stage.steps if word == "ENV" for pair in rest.split())
    return {name: value for name, _, value in pairs}
