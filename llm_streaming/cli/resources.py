"""kubectl's verbs, with kubectl's output, for Models and Servers on either kind of mesh."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from typing import Annotated

import typer

from llm_streaming.cli.options import FilesOption, MeshOptions, manifests_in, with_mesh_options
from llm_streaming.cli.tables import Format, render
from llm_streaming.errors import LLMStreamingError, MeshError

_MODEL_PREFIX = re.compile(r"^models?(\.mlops\.seldon\.io)?/")  # as `get -o name` and kubectl write it
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


class Kind(StrEnum):
    """The kinds of resources, in the plural and the singular, as kubectl accepts them."""

    MODELS = "models"
    MODEL = "model"
    SERVERS = "servers"
    SERVER = "server"

    @property
    def singular(self) -> str:
        """The kind in the singular."""
        return self.value.removesuffix("s")


@with_mesh_options
def apply(options: MeshOptions, filename: FilesOption) -> None:
    """Deploy the models and servers in manifests; does not wait until they are ready."""
    manifests = manifests_in(filename)
    with options.open() as mesh:
        for manifest in manifests:
            mesh.apply(manifest)


@with_mesh_options
def delete(options: MeshOptions, filename: FilesOption) -> None:
    """Remove the models and servers in manifests, and wait until they are gone.

    If one of them cannot be removed, the others still are.
    """
    manifests = manifests_in(filename)
    failed = False
    with options.open() as mesh:
        for manifest in manifests:
            try:
                mesh.delete(manifest)
            except LLMStreamingError as error:
                failed = True
                print(f"error: {error}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


@with_mesh_options
def wait(
    options: MeshOptions,
    names: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="Models; by default all.")] = None,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="The longest time to wait, such as 30s, 10m or 1h.")
    ] = "10m",
) -> None:
    """Wait until models are ready."""
    duration = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", timeout)
    if not duration:
        raise typer.BadParameter(f"--timeout takes a duration such as 30s, 10m or 1h, but got '{timeout}'")
    with options.open() as mesh:
        models = names or [model["metadata"]["name"] for model in mesh.resources("Model")]
        if not models:
            raise MeshError("there is no model to wait for: `llm-streaming apply` deploys one")
        seconds = float(duration[1]) * _SECONDS[duration[2]]
        mesh.wait(*(_MODEL_PREFIX.sub("", name) for name in models), timeout=seconds)


@with_mesh_options
def get(
    options: MeshOptions,
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="models or servers.")] = Kind.MODELS,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of them; by default all.")] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="The output format.")] = Format.TABLE,
) -> None:
    """Show models or servers, and whether they are ready."""
    with options.open() as mesh:
        found = mesh.resources(kind.singular.capitalize())
    if name is not None:
        found = [resource for resource in found if resource["metadata"]["name"] == name]
        if not found:
            raise MeshError(f"there is no {kind.singular} '{name}': `llm-streaming get {kind}` lists them")
    if found:
        print(render(found, output, single=name is not None))
    else:
        print(f"No {kind.singular}s found.", file=sys.stderr)


@with_mesh_options
def logs(
    options: MeshOptions,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
) -> None:
    """Show the log of the server that holds a model."""
    with options.open() as mesh:
        print(mesh.logs(model))
