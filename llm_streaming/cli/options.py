"""Options that several commands share: the mesh to use, and the manifests to read."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

from typer import BadParameter, Option

from llm_streaming.connection import MESH_VARIABLE, mesh_of_environment, open_mesh
from llm_streaming.doctor import Target
from llm_streaming.errors import ManifestError, MeshError
from llm_streaming.manifests import Model, Server, read_manifests
from llm_streaming.mesh.base import Mesh
from llm_streaming.paths import in_project

if TYPE_CHECKING:
    from llm_streaming.mesh.remote.mesh import RemoteMesh

FilesOption = Annotated[
    list[str],
    Option("--filename", "-f", metavar="FILE", help="A manifest, a folder of manifests, or - for stdin; repeatable."),
]
P = ParamSpec("P")


@dataclass(frozen=True)
class MeshOptions:
    """The options that choose a mesh. `with_mesh_options` adds them to a command."""

    target: Annotated[
        Target, Option(help="embedded: the mesh of `llm-streaming up`. kubernetes: Seldon Core 2 on a cluster.")
    ] = Target.EMBEDDED
    namespace: Annotated[
        str | None,
        Option(
            "--namespace",
            "-n",
            metavar="NAME",
            help="On a cluster: Seldon Core 2's namespace; by default SELDON_NAMESPACE, the context's, or seldon.",
        ),
    ] = None
    context: Annotated[
        str | None, Option(metavar="NAME", help="On a cluster: the kubeconfig's context; by default the current one.")
    ] = None

    def open(self) -> Mesh:
        """Open the mesh.

        Raises:
            MeshError: no embedded mesh is open, or the cluster cannot be used.
            BadParameter: options for a cluster were combined with the embedded mesh.
        """
        if self.target is Target.KUBERNETES:
            return open_mesh(self.target, namespace=self.namespace, context=self.context)
        if self.namespace or self.context:
            raise BadParameter("--namespace and --context require --target kubernetes")
        return embedded_mesh()


def with_mesh_options(command: Callable[Concatenate[MeshOptions, P], None]) -> Callable[..., None]:
    """Add --target, --namespace and --context to a command, which receives them as its first argument."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = inspect.signature(MeshOptions, eval_str=True).parameters

    @functools.wraps(command)
    def run(**arguments: Any) -> None:  # noqa: ANN401 - typer passes each option by its name
        options = MeshOptions(**{name: arguments.pop(name) for name in shared})
        command(options, **arguments)  # type: ignore[call-arg]

    run.__signature__ = inspect.Signature([*own, *shared.values()])  # type: ignore[attr-defined]
    return run


def embedded_mesh() -> RemoteMesh:
    """Open the mesh of ``llm-streaming up``.

    Raises:
        MeshError: ``LLM_STREAMING_MESH`` is not set, or its mesh cannot be reached.
    """
    if mesh := mesh_of_environment():
        return mesh
    raise MeshError(
        "no embedded mesh is open for this shell: run `llm-streaming up` in another shell, and copy the line "
        f"`export {MESH_VARIABLE}=…` from there to this one; for a cluster, add --target kubernetes"
    )


def manifests_in(names: Iterable[str]) -> list[Model | Server]:
    """Read the manifests that ``-f`` names: files, folders (without their subfolders), and ``-`` for standard input.

    Raises:
        ManifestError: a manifest cannot be read or is invalid, a folder contains none, or a name is empty.
    """
    return [manifest for name in names for path in _paths(name) for manifest in read_manifests(path)]


def _paths(name: str) -> list[Path]:
    if not name:
        raise ManifestError("-f needs a file, a folder or -, but got an empty name: is a shell variable unset?")
    path = Path("/dev/stdin") if name == "-" else _find(name)
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.yaml"))
    if not files:
        raise ManifestError(f"the folder {name} contains no .yaml file")
    return files


def _find(name: str) -> Path:
    """Find a file relative to the working directory, as kubectl does, or otherwise to the project, as notebooks do."""
    here = Path(name).expanduser().absolute()
    if here.exists():
        return here
    try:
        return in_project(name)
    except ManifestError:
        return here
