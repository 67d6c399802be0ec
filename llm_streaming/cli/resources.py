"""kubectl's verbs, with kubectl's output, for Models and Servers on either kind of mesh."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from typer import Argument, BadParameter, Exit, Option

from llm_streaming.cli.options import FilesOption, MeshOptions, manifests_in, with_mesh_options
from llm_streaming.errors import LLMStreamingError, MeshError
from llm_streaming.manifests import capabilities, to_yaml
from llm_streaming.mesh.progress import ModelStatus, qualified
from llm_streaming.printable import one_line, printable

Resource = dict[str, Any]
Kind = Literal["models", "model", "servers", "server"]  # kubectl accepts the plural and the singular
Format = Literal["table", "name", "yaml", "json"]

_MODEL_PREFIX = re.compile(r"^models?(\.mlops\.seldon\.io)?/")  # as `get -o name` and kubectl write it
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


@with_mesh_options
def apply(options: MeshOptions, filename: FilesOption) -> None:
    """Deploy the models and servers in manifests.

    The command does not wait until they are ready.
    """
    manifests = manifests_in(filename)
    with options.open() as mesh:
        for manifest in manifests:
            mesh.apply(manifest)


@with_mesh_options
def delete(options: MeshOptions, filename: FilesOption) -> None:
    """Remove the models and servers in manifests.

    The command waits until they are gone. If one cannot be removed, the command still removes the others.
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
        raise Exit(1)


@with_mesh_options
def wait(
    options: MeshOptions,
    names: Annotated[list[str] | None, Argument(metavar="MODEL", help="The models; by default all.")] = None,
    timeout: Annotated[
        str, Option(metavar="DURATION", help="The maximum time to wait, such as 30s, 10m or 1h.")
    ] = "10m",
) -> None:
    """Wait until models are ready."""
    duration = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", timeout)
    if not duration:
        raise BadParameter(f"--timeout needs a duration such as 30s, 10m or 1h, but got '{timeout}'")
    with options.open() as mesh:
        models = names or [model["metadata"]["name"] for model in mesh.resources("Model")]
        if not models:
            raise MeshError("there is no model to wait for: `llm-streaming apply` deploys one")
        seconds = float(duration[1]) * _SECONDS[duration[2]]
        mesh.wait(*(_MODEL_PREFIX.sub("", name) for name in models), timeout=seconds)


@with_mesh_options
def get(
    options: MeshOptions,
    kind: Annotated[Kind, Argument(metavar="KIND", help="models or servers.")] = "models",
    name: Annotated[str | None, Argument(metavar="NAME", help="One model or server; by default all.")] = None,
    output: Annotated[Format, Option("--output", "-o", help="The output format.")] = "table",
) -> None:
    """Show models or servers, and whether they are ready."""
    singular = kind.removesuffix("s")
    with options.open() as mesh:
        found = mesh.resources(singular.capitalize())
    for resource in found:
        resource["metadata"].pop("managedFields", None)  # kubectl does not show this field either
    if name is not None:
        found = [resource for resource in found if resource["metadata"]["name"] == name]
        if not found:
            raise MeshError(f"there is no {singular} '{name}': `llm-streaming get {kind}` lists them")
    if found:
        print(printable(_render(found, output, single=name is not None)))
    else:
        print(f"No {singular}s found.", file=sys.stderr)


@with_mesh_options
def logs(options: MeshOptions, model: Annotated[str, Argument(metavar="MODEL", help="The model's name.")]) -> None:
    """Show the log of the server that runs a model."""
    with options.open() as mesh:
        print(printable(mesh.logs(model)))


def _render(resources: Sequence[Resource], output: Format, *, single: bool) -> str:
    """Format resources of one kind. With `single`, format the first one alone instead of a list."""
    if output == "name":
        return "\n".join(f"{qualified(resource['kind'])}/{resource['metadata']['name']}" for resource in resources)
    if output == "table":
        last = "CAPABILITIES" if resources[0]["kind"] == "Server" else "MESSAGE"
        return _table([("NAME", "READY", last), *map(_row, resources)])
    document = resources[0] if single else {"apiVersion": "v1", "kind": "List", "items": resources}
    return json.dumps(document, indent=4) if output == "json" else to_yaml(document).rstrip("\n")


def _row(resource: Resource) -> tuple[str, ...]:
    status = ModelStatus.of(resource)
    last = one_line(",".join(capabilities(resource))) if resource["kind"] == "Server" else status.words
    return resource["metadata"]["name"], str(status.ready), last


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
