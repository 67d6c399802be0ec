"""kubectl's verbs, and its output, for Models and Servers on either mesh."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from typing import Annotated

import typer

from llm_streaming.cli.files import manifests_in
from llm_streaming.cli.options import ContextOption, NamespaceOption, TargetOption, chosen_mesh
from llm_streaming.cli.tables import Format, render
from llm_streaming.doctor import Target
from llm_streaming.errors import LLMStreamingError, MeshError

# As `get -o name` and kubectl write a model's name.
_PREFIX = re.compile(r"^models?(\.mlops\.seldon\.io)?/")

_UNITS = {"s": 1, "m": 60, "h": 3600}

FilesOption = Annotated[
    list[str],
    typer.Option("--filename", "-f", metavar="FILE", help="A manifest, a folder of manifests, or - for stdin."),
]


class Kind(StrEnum):
    """The resources of Seldon Core 2 that matter here, in the plural or the singular, as kubectl takes them."""

    MODELS = "models"
    MODEL = "model"
    SERVERS = "servers"
    SERVER = "server"

    @property
    def singular(self) -> str:
        """One of them."""
        return self.value.removesuffix("s")


def apply(
    filename: FilesOption,
    target: TargetOption = Target.EMBEDDED,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Deploy what manifests describe; returns before it is ready."""
    found = manifests_in(filename)
    with chosen_mesh(target, namespace, context) as mesh:
        for resource in found:
            mesh.apply(resource)


def delete(
    filename: FilesOption,
    target: TargetOption = Target.EMBEDDED,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Remove what manifests describe; returns when it is gone. What cannot be removed does not keep the rest."""
    found = manifests_in(filename)
    failed = False
    with chosen_mesh(target, namespace, context) as mesh:
        for resource in found:
            try:
                mesh.delete(resource)
            except LLMStreamingError as error:
                failed = True
                print(f"error: {error}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _seconds(duration: str) -> float:
    """Read a duration: seconds, or as kubectl writes it, ``30s``, ``10m``, ``1h``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", duration)
    if not found:
        raise typer.BadParameter(f"--timeout takes a duration such as 30s, 10m or 1h, but got '{duration}'")
    return float(found[1]) * _UNITS[found[2] or "s"]


def wait(
    names: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="By default all models.")] = None,
    timeout: Annotated[str, typer.Option(metavar="DURATION", help="How long at most: 30s, 10m, 1h.")] = "10m",
    target: TargetOption = Target.EMBEDDED,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Wait until models are ready."""
    seconds = _seconds(timeout)
    with chosen_mesh(target, namespace, context) as mesh:
        found = names or [model["metadata"]["name"] for model in mesh.resources("Model")]
        if not found:
            raise MeshError("there is no model to wait for: `llm-streaming apply` deploys one")
        mesh.wait(*(_PREFIX.sub("", name) for name in found), timeout=seconds)


def get(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="What to show: models or servers.")] = Kind.MODELS,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="By default all.")] = None,
    output: Annotated[Format, typer.Option("--output", "-o", help="How to show them.")] = Format.TABLE,
    target: TargetOption = Target.EMBEDDED,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Show models or servers, and whether they are ready."""
    with chosen_mesh(target, namespace, context) as mesh:
        found = mesh.resources(kind.singular.capitalize())
    if name is not None:
        found = [resource for resource in found if resource["metadata"]["name"] == name]
        if not found:
            raise MeshError(f"there is no {kind.singular} '{name}': `llm-streaming get {kind}` shows those there")
    if not found:
        print(f"No {kind.singular}s found.", file=sys.stderr)
        return
    print(render(found, output, alone=name is not None))


def logs(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    target: TargetOption = Target.EMBEDDED,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
) -> None:
    """Show what the server that holds a model has logged."""
    with chosen_mesh(target, namespace, context) as mesh:
        print(mesh.logs(model))
