"""What a cluster refuses or fails to do, in one sentence, with the kubectl command that shows more."""

from __future__ import annotations

import json
import re
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from llm_streaming.errors import MeshError
from llm_streaming.manifests import API_VERSION
from llm_streaming.mesh.kubernetes.config import Connection

# What the API server answers when it is busy or restarting, and when a watch has become too old (contract §6).
_TRANSIENT = {410, 429, 500, 502, 503, 504}

# Whom the API server takes for one whose credentials it does not know, where it lets such a one in at all.
_ANONYMOUS = "system:anonymous"

_VERB = re.compile(r'cannot (\S+) resource "([^"]+)"')


def is_transient(error: ApiException | HTTPError) -> bool:
    """Whether asking again may help: a connection broke, or the API server is busy."""
    return not isinstance(error, ApiException) or error.status in _TRANSIENT


def explain(error: ApiException | HTTPError, connection: Connection, subject: str = "model") -> MeshError:
    """Say what went wrong in a call to the API server (contract §6). Nothing of the request is repeated.

    Args:
        error: what the client raised.
        connection: the way to the cluster.
        subject: what the call was about, as kubectl names it: ``model/<name>``.
    """
    if not isinstance(error, ApiException):
        return _unreachable(str(getattr(error.__cause__, "strerror", None) or error.__cause__ or error), connection)
    if not error.status:  # the TLS handshake failed
        return _unreachable(" ".join(str(error.reason).split()), connection)
    status = _status(error)
    message = str(status.get("message") or error.reason)
    return MeshError(_sentence(error.status, message, status.get("details") or {}, connection, subject))


def not_installed(kind: str, connection: Connection) -> MeshError:
    """Say that the cluster knows no such resource of Seldon Core 2."""
    return MeshError(
        f"Seldon Core 2 is not installed on this cluster, which knows no {kind} of {API_VERSION}: `helm install "
        "seldon-core-v2-crds seldon-charts/seldon-core-v2-crds` adds it, and docs/cluster.md says what comes after it; "
        f"{connection.kubectl('api-resources --api-group mlops.seldon.io')} shows what there is"
    )


def no_api_server(connection: Connection) -> MeshError:
    """Say that something else answers at the cluster's address."""
    return MeshError(
        f"what answers at {connection.client.configuration.host} is no Kubernetes API server: is it the right address "
        f"for {connection}, and reached without a proxy? {connection.kubectl('cluster-info')} shows more"
    )


def _sentence(status: int, message: str, details: dict[str, Any], connection: Connection, subject: str) -> str:
    if status == 401 or _ANONYMOUS in message:
        return (
            f"the cluster refuses the credentials for {connection}, which may have expired: log in again; "
            f"{connection.kubectl('auth whoami')} shows whether that helped"
        )
    if status == 403:
        return _forbidden(message, details, connection)
    if status == 404 and details.get("kind") == "namespaces":
        name = details.get("name")
        return (
            f"the cluster has no namespace '{name}': create it with `kubectl create namespace {name}`, or choose one "
            f"of those that {connection.kubectl('get namespaces')} shows"
        )
    if status == 409 and details.get("causes"):
        return _conflict(details["causes"], connection, subject)
    if status == 422:
        schema = connection.kubectl(f"explain {subject.partition('/')[0]}.spec")
        return f"the cluster rejects the manifest: {message}; {schema} shows what it takes"
    return f"the cluster answered {status}: {message}; {connection.kubectl('get events')} shows more"


def _forbidden(message: str, details: dict[str, Any], connection: Connection) -> str:
    found = _VERB.search(message)
    resource = f"{found[2]}.{details['group']}" if found and details.get("group") else found[2] if found else ""
    role = f"a role that allows to {found[1]} {resource}" if found else "a role that allows it"
    return (
        f"the cluster forbids this ({message}): ask for {role} in namespace '{connection.namespace}'; "
        f"{connection.kubectl('auth can-i --list')} shows what you may do"
    )


def _conflict(causes: list[dict[str, str]], connection: Connection, subject: str) -> str:
    held = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in causes)
    managers = connection.kubectl(f"get {subject} -o yaml --show-managed-fields")
    return (
        f"{subject} was not applied, because other managers own what it would change ({held}): change it with them, or "
        f"delete it and apply it again; {managers} shows who owns what"
    )


def _unreachable(reason: str, connection: Connection) -> MeshError:
    return MeshError(
        f"the cluster of {connection} cannot be reached at {connection.client.configuration.host} ({reason}): start "
        f"it, or choose another context; {connection.kubectl('cluster-info')} shows more"
    )


def _status(error: ApiException) -> dict[str, Any]:
    """The Status that the API server sends with an error; empty where something else answered."""
    try:
        status = json.loads(error.body or "")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}
