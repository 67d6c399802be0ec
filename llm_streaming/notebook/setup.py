"""The set-up cell of a notebook: whether all is there that the notebook needs."""

from __future__ import annotations

import textwrap

from llm_streaming.errors import LLMStreamingError

_WIDTH = 100  # characters; pages cut longer lines anywhere


class SetupError(LLMStreamingError):
    """Something is not as the target needs it."""


def check_setup(target: str = "embedded") -> None:
    """Print the versions in use and all else that ``llm-streaming doctor`` finds of what a target needs.

    Paths of this machine and keys are left out: what a notebook prints is kept in it.

    Args:
        target: as `llm_streaming.connect` takes it.

    Raises:
        SetupError: there is no such target, or something is wrong; what to do about it is printed.
    """
    from llm_streaming.doctor import State, Target, all_checks, examine

    if target not in list(Target):
        raise SetupError(f"there is no target '{target}': set the parameter target to {' or '.join(Target)}")
    needed = [check for check in all_checks() if target in check.needed_for]
    wrong = []
    for name, state, words, _ in examine(needed, Target(target)):
        print(_lines(f"{state:<5}  {name:<10}  ", words))
        if state is State.WRONG:
            wrong.append(name)
    if wrong:
        raise SetupError(f"not ready for {target}: {', '.join(wrong)}: do what is said above, and run this cell again")


def _lines(head: str, words: str) -> str:
    """A finding, its words below each other where one line is too short."""
    return textwrap.fill(words, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
