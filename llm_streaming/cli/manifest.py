"""``llm-streaming manifest``: prints manifests of Models and Servers."""

from __future__ import annotations

from typing import Annotated, Literal

from typer import Argument, BadParameter, Option, Typer

from llm_streaming.manifests import STREAMING_ENV, Model, Server, to_yaml

app = Typer(help="Print a validated manifest, for kubectl or this command line.", rich_markup_mode=None)


Repeated = list[str] | None
NameArgument = Annotated[str, Argument(metavar="NAME", help="Lower-case letters, digits and '-'.")]
ReplicasOption = Annotated[int | None, Option(metavar="N", help="The number of replicas; by default 1.")]
MinReplicasOption = Annotated[int | None, Option(metavar="N", help="The minimum number of replicas for autoscaling.")]
MaxReplicasOption = Annotated[int | None, Option(metavar="N", help="The maximum number of replicas for autoscaling.")]


def _pair(text: str) -> tuple[str, str]:
    """Split ``NAME=VALUE`` into the name and the value."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise BadParameter(f"expected NAME=VALUE, but got '{text}'")
    return name, value


def _toleration(key: str) -> dict[str, str]:
    """Tolerate a taint's key with any value. An empty key would tolerate all taints."""
    if not key:
        raise BadParameter("--toleration needs the key of a taint, but got an empty one")
    return {"key": key, "operator": "Exists"}


@app.command()
def model(
    name: NameArgument,
    storage_uri: Annotated[str, Option(metavar="URI", help="The model's folder, such as gs://bucket/models/NAME.")],
    requirement: Annotated[Repeated, Option(metavar="CAPABILITY", help="A required capability; repeatable.")] = None,
    memory: Annotated[str | None, Option(metavar="QUANTITY", help="The required memory, such as 2Gi.")] = None,
    replicas: ReplicasOption = None,
    min_replicas: MinReplicasOption = None,
    max_replicas: MaxReplicasOption = None,
    server: Annotated[str | None, Option(metavar="NAME", help="The server to run on; by default any.")] = None,
    secret_name: Annotated[str | None, Option(metavar="NAME", help="The Secret for access to the storage.")] = None,
    artifact_version: Annotated[int | None, Option(metavar="N", help="The version in the model's folder.")] = None,
    parameter: Annotated[Repeated, Option(metavar="NAME=VALUE", help="A runtime parameter; repeatable.")] = None,
) -> None:
    """Print the manifest of a Model, which deploys a model."""
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
    runtime: Annotated[Literal["api", "local"], Option(help="api: calls OpenAI's API. local: runs models itself.")],
    image: Annotated[str | None, Option(metavar="IMAGE", help="The image that contains the runtime.")] = None,
    gpu: Annotated[int, Option(metavar="N", help="NVIDIA GPUs per replica.")] = 0,
    cpu: Annotated[str | None, Option(metavar="QUANTITY", help="CPUs per replica, such as 500m.")] = None,
    memory: Annotated[str | None, Option(metavar="QUANTITY", help="Memory per replica, such as 4Gi.")] = None,
    replicas: ReplicasOption = None,
    min_replicas: MinReplicasOption = None,
    max_replicas: MaxReplicasOption = None,
    secret: Annotated[
        str | None, Option(metavar="NAME", help="The Secret with OPENAI_API_KEY (api) or HF_TOKEN (local).")
    ] = None,
    env: Annotated[Repeated, Option(metavar="NAME=VALUE", help="An environment variable; repeatable.")] = None,
    toleration: Annotated[Repeated, Option(metavar="KEY", help="A taint key, e.g. nvidia.com/gpu; repeatable.")] = None,
) -> None:
    """Print the manifest of a Server, which runs models, with the settings for streaming."""
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
