"""All commands, in the order in which ``llm-streaming --help`` shows them."""

from __future__ import annotations

import typer

from llm_streaming.cli import chat, doctor, manifest, reset, resources, up

app = typer.Typer(
    name="llm-streaming",
    help="Deploy language models on Seldon Core 2, on this machine or on a cluster, and chat with them.",
    rich_markup_mode=None,  # plain help, which can be searched and piped as kubectl's can
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up.up)
app.command()(resources.apply)
app.command()(resources.wait)
app.command()(resources.get)
app.command()(resources.delete)
app.command()(resources.logs)
app.command()(reset.reset)
app.command()(chat.chat)
app.add_typer(manifest.app, name="manifest")
app.command()(doctor.doctor)
