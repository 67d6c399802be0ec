"""``llm-streaming doctor``: what is needed, whether it is there, and what to do where it is not."""

from __future__ import annotations

import typer

from llm_streaming.cli.options import ContextOption, NamespaceOption, TargetOption
from llm_streaming.doctor import State, Target, all_checks, examine


def doctor(
    target: TargetOption = Target.EMBEDDED, namespace: NamespaceOption = None, context: ContextOption = None
) -> None:
    """Look at all that a mesh needs, one line each, with what to do where something is wrong.

    The exit status is 1 if something is wrong that the target needs; what it does not need is marked with a dash.
    """
    from rich.console import Console
    from rich.text import Text

    styles = {State.OK: "green", State.WRONG: "bold red", State.ASIDE: "dim"}
    console = Console(highlight=False, soft_wrap=True)
    wrong = False
    for name, state, words, path in examine(all_checks(namespace, context), target):
        wrong = wrong or state is State.WRONG
        words = f"{words}, {path}" if path else words
        console.print(Text.assemble((f"{state:<5}", styles[state]), f"  {name:<10}  {words}"))
    if wrong:
        raise typer.Exit(1)
