"""The connection to a cluster, configured like kubectl: with a kubeconfig, or with a pod's service account."""

from __future__ import annotations

import logging
import os
import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_streaming.errors import MeshError
from llm_streaming.mesh.kubernetes.kubeconfig import check_kubeconfig
from llm_streaming.printable import one_line

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, Configuration

_DEFAULT_NAMESPACE = "seldon"  # the namespace in Seldon's own walkthroughs
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

# An address, of which the group is the host and the port. A password, a path and a query are outside the group.
_ADDRESS = re.compile(r"(?:https?://)?(?:[^/?#]*@)?((?:[\w.-]+|\[[\w:.%]+\])(?::\d{1,5})?)(?:[/?#][^@]*)?", re.ASCII)


@dataclass(frozen=True)
class Connection:
    """A client for a cluster, and the options that make kubectl use the same cluster.

    Args:
        client: the official client, with the user's credentials.
        namespace: the namespace of the models.
        context: the kubeconfig's context, or None inside a pod.
        kubeconfig: the absolute paths of the kubeconfig files, separated as in ``KUBECONFIG``; empty inside a pod.
        chosen: whether the caller chose these files. If so, kubectl commands need the option ``--kubeconfig``.
    """

    client: ApiClient
    namespace: str
    context: str | None = None
    kubeconfig: str = ""
    chosen: bool = False

    def __str__(self) -> str:
        cluster = f"context '{self.context}'" if self.context else "the cluster that this pod runs in"
        return one_line(f"namespace '{self.namespace}' of {cluster}")

    @property
    def server(self) -> str:
        """The host and the port of the API server, without anything else in its address, which may be a secret."""
        found = _ADDRESS.fullmatch(self.client.configuration.host)
        return found[1] if found else "its address"

    def argv(self, command: str) -> list[str]:
        """Split a kubectl command into words, and add the options for this cluster and namespace."""
        words = ["kubectl", *shlex.split(command), "-n", self.namespace]
        words += ["--context", self.context] if self.context else []
        words += ["--kubeconfig", self.kubeconfig] if self.chosen else []
        return words

    def kubectl(self, command: str) -> str:
        """Return a kubectl command, with the options for this cluster and namespace, as text for a message."""
        return f"`{shlex.join(self.argv(command))}`"


def is_configured() -> bool:
    """Return whether kubectl would find a cluster."""
    return bool(_find_kubeconfig(None)) or _in_pod()


def find_connection(*, namespace: str | None, context: str | None, kubeconfig: str | None) -> Connection:
    """Find a cluster as kubectl does: with a kubeconfig, or inside a pod with its service account.

    `KubernetesMesh` describes the arguments, and the defaults for arguments that are None.

    Raises:
        MeshError: there is no configuration, or the configuration cannot be read or lacks the context.
    """
    namespace = namespace or os.environ.get("SELDON_NAMESPACE")
    if path := _find_kubeconfig(kubeconfig):
        return _from_kubeconfig(path, context, namespace, chosen=kubeconfig is not None)
    if kubeconfig is None and context is None and _in_pod():
        return _from_service_account(namespace)
    where = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    raise MeshError(
        f"there is no kubeconfig at {where}: get your cluster's (for kind: `kind export kubeconfig`), or set "
        "KUBECONFIG to its path; `kubectl config view` shows the one that kubectl finds"
    )


def _find_kubeconfig(option: str | None) -> str:
    """Return the absolute paths of the kubeconfig files that exist, separated as in ``KUBECONFIG``."""
    value = option or os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = [Path(part).expanduser().absolute() for part in value.split(os.pathsep) if part]
    return os.pathsep.join(str(path) for path in paths if path.is_file())


def _in_pod() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ and (_SERVICE_ACCOUNT / "token").is_file()


def _from_kubeconfig(path: str, context: str | None, namespace: str | None, *, chosen: bool) -> Connection:
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    configuration = _configuration()
    try:
        check_kubeconfig(path)
        context, own_namespace = _choose_context(path, context)
        with _logged_errors() as login_errors:
            config.load_kube_config(path, context, configuration)  # type: ignore[no-untyped-call]
        if not re.fullmatch("[ -~]*", configuration.api_key.get("BearerToken", "")):
            raise ValueError("the token has a line break or another character that HTTP does not allow")
        api_client = client.ApiClient(configuration)
    except (config.ConfigException, OSError, ValueError, AttributeError, KeyError, TypeError, HTTPError) as error:
        raise MeshError(
            f"the kubeconfig {path} cannot be used ({_first_line(str(error))}): run `kubectl config view`, and correct "
            "the file"
        ) from None
    namespace = namespace or own_namespace or _DEFAULT_NAMESPACE
    connection = Connection(api_client, namespace, context, path, chosen)
    if login_errors:
        raise MeshError(
            f"the login command in the kubeconfig {path} gave no credentials ({_first_line(login_errors[0])}): log in "
            f"again; {connection.kubectl('auth whoami')} shows the command's own message"
        )
    return connection


def _first_line(reason: str) -> str:
    """Shorten a message of the official client, which may continue with an entry of the kubeconfig or a command."""
    first, *_ = reason.partition("{")[0].splitlines() or [""]
    return first.partition(". ")[0] if first.startswith("exec: process returned") else first.strip()


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """Collect the errors that the official client logs in this thread instead of raising them."""
    errors: list[str] = []
    thread = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        errors.append(record.getMessage())
        return False  # do not print the message, which may contain what the login command printed

    root = logging.getLogger()
    root.addFilter(collect)
    try:
        yield errors
    finally:
        root.removeFilter(collect)


def _choose_context(path: str, context: str | None) -> tuple[str, str | None]:
    """Return the name and the namespace of a context, by default of the current context."""
    from kubernetes.config.kube_config import KubeConfigMerger

    config: Any = KubeConfigMerger(path).config.value  # type: ignore[no-untyped-call]
    contexts = {entry["name"]: entry["context"] for entry in config["contexts"]}
    name = context or config.get("current-context")
    if name not in contexts:
        missing = f"context '{name}'" if name else "current context"
        raise MeshError(
            f"the kubeconfig {path} has no {missing} (it has {', '.join(contexts) or 'none'}): choose another, or set "
            "the current one with `kubectl config use-context`"
        )
    return name, contexts[name].safe_get("namespace")


def _from_service_account(namespace: str | None) -> Connection:
    from kubernetes import client, config

    configuration = _configuration()
    try:
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        own_namespace = (_SERVICE_ACCOUNT / "namespace").read_text().strip()
    except (config.ConfigException, OSError) as error:
        raise MeshError(f"this pod's service account cannot be used: {error}") from None
    return Connection(client.ApiClient(configuration), namespace or own_namespace)


def _configuration() -> Configuration:
    from kubernetes.client import Configuration

    # Calling the class would copy a default that other code in this process may have set.
    configuration: Configuration = type.__call__(Configuration)
    configuration.retries = False  # report an unreachable cluster at once
    configuration.keep_alive = True  # notice a connection that a load balancer has cut during a watch
    return configuration
