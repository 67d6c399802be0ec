"""The way to a cluster: its configuration, found as kubectl finds it, and a client for it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from llm_streaming.errors import MeshError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

# Where Seldon Core 2 is looked for if nothing says otherwise: the namespace of Seldon's own walkthroughs.
DEFAULT_NAMESPACE = "seldon"

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Connection:
    """A client for a cluster, and what tells kubectl to use the same one.

    Args:
        client: the official client's, with the user's credentials.
        namespace: where models are deployed.
        context: the kubeconfig's context, or None inside a pod.
        kubeconfig: the files it was found in, as ``KUBECONFIG`` names them, or None inside a pod.
        chosen: whether the caller chose these files, so that kubectl would not find them by itself.
    """

    client: ApiClient
    namespace: str
    context: str | None = None
    kubeconfig: str | None = None
    chosen: bool = False

    def __str__(self) -> str:
        place = f"context '{self.context}'" if self.context else "the cluster that this pod runs in"
        return f"namespace '{self.namespace}' of {place}"

    def argv(self, command: str) -> list[str]:
        """A kubectl command's words, with those that lead it to this namespace of this cluster."""
        words = ["kubectl", *shlex.split(command), "-n", self.namespace]
        words += ["--context", self.context] if self.context else []
        return words + (["--kubeconfig", str(self.kubeconfig)] if self.chosen else [])

    def kubectl(self, command: str) -> str:
        """A kubectl command as a person types it."""
        return f"`{shlex.join(self.argv(command))}`"

    def environment(self) -> dict[str, str]:
        """What kubectl needs, in whichever folder it runs."""
        return {**os.environ, **({"KUBECONFIG": self.kubeconfig} if self.kubeconfig else {})}


def is_configured() -> bool:
    """Whether kubectl would find a cluster to talk to."""
    return _find_kubeconfig(None) is not None or _in_pod()


def find_connection(*, namespace: str | None, context: str | None, kubeconfig: str | None) -> Connection:
    """Find a cluster as kubectl does: a kubeconfig, or inside a pod its service account.

    Args:
        namespace: by default ``SELDON_NAMESPACE``, then the context's own (a pod's own), then `DEFAULT_NAMESPACE`.
        context: by default the kubeconfig's current context.
        kubeconfig: by default what ``KUBECONFIG`` names, then ``~/.kube/config``.

    Raises:
        MeshError: there is no configuration, it cannot be read, or it has no such context.
    """
    wanted = namespace or os.environ.get("SELDON_NAMESPACE")
    path = _find_kubeconfig(kubeconfig)
    if path is not None:
        return _from_kubeconfig(path, context, wanted, chosen=kubeconfig is not None)
    if kubeconfig is None and context is None and _in_pod():
        return _from_service_account(wanted)
    where = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    raise MeshError(
        f"there is no kubeconfig at {where}: fetch your cluster's (for kind: `kind export kubeconfig`), or name it in "
        "KUBECONFIG; `kubectl config view` shows what kubectl finds"
    )


def _find_kubeconfig(option: str | None) -> str | None:
    named = option or os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = [Path(part).expanduser().absolute() for part in named.split(os.pathsep) if part]
    return os.pathsep.join(str(path) for path in paths if path.is_file()) or None


def _in_pod() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and (_SERVICE_ACCOUNT / "token").is_file()


def _from_kubeconfig(path: str, asked: str | None, namespace: str | None, *, chosen: bool) -> Connection:
    from kubernetes.client import ApiClient
    from kubernetes.config import ConfigException, load_kube_config

    configuration = _configuration()
    try:
        context, own_namespace = _choose_context(path, asked)
        load_kube_config(path, context=context, client_configuration=configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        said = " ".join(str(error).partition("{")[0].split())  # the client repeats whole entries, with their tokens
        raise MeshError(f"the kubeconfig {path} cannot be used ({said}): `kubectl config view` shows it") from None
    client = ApiClient(configuration)
    return Connection(client, namespace or own_namespace or DEFAULT_NAMESPACE, context, path, chosen)


def _choose_context(path: str, asked: str | None) -> tuple[str, str | None]:
    """Find a context's name and namespace."""
    from kubernetes.config.kube_config import KubeConfigMerger

    merged: Any = KubeConfigMerger(path).config  # type: ignore[no-untyped-call]
    contexts = {entry["name"]: entry["context"] for entry in merged.value["contexts"]}
    known = f"there are {', '.join(contexts)}" if contexts else "there are none"
    name = asked or merged.value.get("current-context")
    if not name:
        raise MeshError(f"the kubeconfig {path} has no current context ({known}): `kubectl config use-context` sets it")
    if name not in contexts:
        raise MeshError(
            f"the kubeconfig {path} has no context '{name}' ({known}): `kubectl config get-contexts` shows them"
        )
    return name, contexts[name].safe_get("namespace")


def _from_service_account(namespace: str | None) -> Connection:
    from kubernetes.client import ApiClient
    from kubernetes.config import ConfigException, load_incluster_config

    configuration = _configuration()
    try:
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        own_namespace = (_SERVICE_ACCOUNT / "namespace").read_text().strip()
    except (ConfigException, OSError) as error:
        raise MeshError(f"this pod's service account cannot be used: {error}") from None
    return Connection(ApiClient(configuration), namespace or own_namespace)


def _configuration() -> Any:  # noqa: ANN401 - the client's is not typed
    from kubernetes.client import Configuration

    # Calling the class would copy what another user of the client in this process has made its default, token included.
    configuration = type.__call__(Configuration)
    configuration.retries = False  # an unreachable cluster is said to be so at once
    configuration.keep_alive = True  # a connection cut by a load balancer during a watch is noticed
    return configuration
