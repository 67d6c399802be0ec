"""The set-up cell of a notebook: checks that everything the notebook needs is there."""

from __future__ import annotations

import textwrap

from llm_streaming.doctor import State, Target, all_checks, examine
from llm_streaming.errors import LLMStreamingError

_WIDTH = 100  # characters; web pages cut longer lines


class SetupError(LLMStreamingError):
    """Something that the target needs is missing or wrong."""


def check_setup(target: str = "embedded") -> None:
    """Print the installed versions, and the findings of ``llm-streaming doctor`` for a target.

    The notebook stores this output, so it contains neither keys nor paths of this machine.

    Args:
        target: ``embedded`` or ``kubernetes``, as for `llm_streaming.connect`.

    Raises:
        SetupError: the target is unknown, or something is missing; the printed findings say what to do.
    """
    if target not in list(Target):
        raise SetupError(f"there is no target '{target}': set the parameter target to {' or '.join(Target)}")
    needed = [check for check in all_checks() if target in check.needed_for]
    wrong = []
    for name, state, text, _ in examine(needed, Target(target)):
        head = f"{state:<5}  {name:<10}  "
        indent = " " * len(head)
        print(textwrap.fill(text, _WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False))
        if state is State.WRONG:
            wrong.append(name)
    if wrong:
        raise SetupError(
            f"not ready for {target} ({', '.join(wrong)}): follow the instructions above, then run this cell again"
        )
