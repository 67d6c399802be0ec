"""Registers all commands, in the order of ``llm-streaming --help``, and defines ``llm-streaming doctor``."""

from __future__ import annotations

from typer import Exit, Typer

from llm_streaming.cli import chat, manifest, resources, up
from llm_streaming.cli.options import MeshOptions, with_mesh_options
from llm_streaming.doctor import State, all_checks, examine


@with_mesh_options
def doctor(options: MeshOptions) -> None:
    """Check everything that a mesh needs.

    Each check prints one line, which says what to do if something is wrong. A dash marks a problem that does not
    matter for the target, or a check that was skipped. The exit status is 1 if any other problem was found.
    """
    from rich.console import Console
    from rich.text import Text

    styles = {State.OK: "green", State.WRONG: "bold red", State.ASIDE: "dim"}
    console = Console(highlight=False, soft_wrap=True)
    wrong = False
    for name, state, text, path in examine(all_checks(options.namespace, options.context), options.target):
        wrong = wrong or state is State.WRONG
        found = f"{text}, {path}" if path else text
        console.print(Text.assemble((f"{state:<5}", styles[state]), f"  {name:<10}  {found}"))
    if wrong:
        raise Exit(1)


app = Typer(
    name="llm-streaming",
    help="Deploy language models on Seldon Core 2, on this machine or on a cluster, and chat with them.",
    rich_markup_mode=None,  # plain help can be searched and piped, like kubectl's
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_verbs = (resources.apply, resources.wait, resources.get, resources.delete, resources.logs)
for _command in (up.up, *_verbs, up.reset, chat.chat, doctor):
    app.command()(_command)
app.add_typer(manifest.app, name="manifest")
