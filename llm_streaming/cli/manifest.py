"""``llm-streaming manifest``: manifests for `llm-streaming apply`, kubectl and files."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from llm_streaming.manifests import STREAMING_ENV, Model, Server, to_yaml

app = typer.Typer(help="Print a manifest, checked as a cluster checks it.", rich_markup_mode=None)


class Runtime(StrEnum):
    """What answers chat requests."""

    API = "api"
    LOCAL = "local"


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and '-'.")]
ReplicasOption = Annotated[int | None, typer.Option(metavar="N", help="How many; by default one.")]
MinReplicasOption = Annotated[int | None, typer.Option(metavar="N", help="As few as autoscaling may leave.")]
MaxReplicasOption = Annotated[int | None, typer.Option(metavar="N", help="As many as autoscaling may make.")]


def _pair(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"expected NAME=VALUE, but got '{text}'")
    return name, value


def _toleration(key: str) -> dict[str, str]:
    """Bear a taint whatever its value; without a key it would be every taint."""
    if not key:
        raise typer.BadParameter("--toleration takes a taint's key, but got nothing")
    return {"key": key, "operator": "Exists"}


@app.command()
def model(
    name: NameArgument,
    storage_uri: Annotated[
        str, typer.Option(metavar="URI", help="Where its folder is, such as gs://bucket/models/NAME.")
    ],
    requirement: Annotated[
        list[str] | None, typer.Option(metavar="CAPABILITY", help="What its server must be capable of; repeatable.")
    ] = None,
    memory: Annotated[str | None, typer.Option(metavar="QUANTITY", help="What it needs, such as 2Gi.")] = None,
    replicas: ReplicasOption = None,
    min_replicas: MinReplicasOption = None,
    max_replicas: MaxReplicasOption = None,
    server: Annotated[str | None, typer.Option(metavar="NAME", help="The one server to place it on.")] = None,
    secret_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The Secret with what opens the storage.")
    ] = None,
    artifact_version: Annotated[int | None, typer.Option(metavar="N", help="The version in its folder.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A setting for its runtime; repeatable.")
    ] = None,
) -> None:
    """Print a Model: what to deploy, and what it needs."""
    manifest = Model(
        name=name,
        storage_uri=storage_uri,
        requirements=tuple(requirement or ()),
        memory=memory,
        replicas=replicas,
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        server=server,
        secret_name=secret_name,
        artifact_version=artifact_version,
        parameters=dict(map(_pair, parameter or ())),
    )
    print(to_yaml(manifest.as_dict()), end="")


@app.command()
def server(
    name: NameArgument,
    runtime: Annotated[Runtime, typer.Option(help="api relays to OpenAI's API, local runs models itself.")],
    image: Annotated[str | None, typer.Option(metavar="IMAGE", help="An image that holds the runtime.")] = None,
    gpu: Annotated[int, typer.Option(metavar="N", help="NVIDIA GPUs for each replica.")] = 0,
    cpu: Annotated[str | None, typer.Option(metavar="QUANTITY", help="Processors for each, such as 500m.")] = None,
    memory: Annotated[str | None, typer.Option(metavar="QUANTITY", help="Memory for each, such as 4Gi.")] = None,
    replicas: ReplicasOption = None,
    min_replicas: MinReplicasOption = None,
    max_replicas: MaxReplicasOption = None,
    secret: Annotated[
        str | None, typer.Option(metavar="NAME", help="The Secret with OPENAI_API_KEY (api) or HF_TOKEN (local).")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An environment variable, no key; repeatable.")
    ] = None,
    toleration: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="A taint to bear, such as nvidia.com/gpu; repeatable.")
    ] = None,
) -> None:
    """Print a Server: what holds models, set up for streaming."""
    manifest = Server.of_runtime(
        runtime,
        name=name,
        secret=secret,
        image=image,
        gpus=gpu,
        cpu=cpu,
        memory=memory,
        replicas=replicas,
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        env={**STREAMING_ENV, **dict(map(_pair, env or ()))},
        tolerations=tuple(map(_toleration, toleration or ())),
    )
    print(to_yaml(manifest.as_dict()), end="")
