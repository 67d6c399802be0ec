"""The options that say which mesh a command is for, as kubectl names them."""

from __future__ import annotations

from typing import Annotated

import typer

from llm_streaming.connection import open_mesh
from llm_streaming.doctor import Target
from llm_streaming.errors import MeshError
from llm_streaming.mesh.base import Mesh
from llm_streaming.mesh.remote.mesh import VARIABLE, AttachedMesh, named_in_environment

TargetOption = Annotated[
    Target, typer.Option(help="The mesh of `llm-streaming up` on this machine, or Seldon Core 2 on a cluster.")
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="On a cluster: where Seldon Core 2 runs; by default SELDON_NAMESPACE, the context's, or seldon.",
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="On a cluster: the kubeconfig's context; by default the current one."),
]


def chosen_mesh(target: Target, namespace: str | None, context: str | None) -> Mesh:
    """Open the mesh that a command is for.

    Raises:
        MeshError: no embedded mesh is kept open, or the cluster cannot be used.
        BadParameter: the embedded mesh was given options of a cluster.
    """
    if target is Target.KUBERNETES:
        return open_mesh(target, namespace=namespace, context=context)
    if namespace or context:
        raise typer.BadParameter("--namespace and --context belong to --target kubernetes")
    return kept_mesh()


def kept_mesh() -> AttachedMesh:
    """Open the embedded mesh that the environment leads to.

    Raises:
        MeshError: it leads to none, or to one that cannot be used.
    """
    control = named_in_environment()
    if control is None:
        raise MeshError(
            "no embedded mesh is open for this shell: run `llm-streaming up` in another one and, here, the line that "
            f"it prints, which sets {VARIABLE}; or name a cluster's with --target kubernetes"
        )
    return AttachedMesh(control)
