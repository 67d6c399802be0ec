"""Error messages for failed requests to a cluster: one sentence, with the kubectl command that shows more."""

from __future__ import annotations

import json
from typing import Any

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError, LocationParseError

from llm_streaming.errors import MeshError
from llm_streaming.manifests import API_VERSION
from llm_streaming.mesh.kubernetes.config import Connection

# The statuses of an API server that is busy or restarts, and of a watch that is too old (contract §6).
_TRANSIENT = {410, 429, 500, 502, 503, 504}

_ANONYMOUS = "system:anonymous"  # the user of unauthenticated requests, on clusters that allow them


def is_transient(error: ApiException | HTTPError) -> bool:
    """Return whether the same request may succeed later, because the connection broke or the API server is busy."""
    return not isinstance(error, ApiException) or error.status in _TRANSIENT


def explain(error: ApiException | HTTPError, connection: Connection, subject: str = "model") -> MeshError:
    """Return the error that says why a request to the API server failed (contract §6), without quoting the request.

    `subject` is the resource in the request, as kubectl names it: ``model/<name>``.
    """
    if isinstance(error, ApiException) and error.status:
        return MeshError(_refusal(error, connection, subject))
    return MeshError(
        f"the cluster of {connection} cannot be reached at {connection.server} ({' '.join(_reason(error).split())}): "
        f"start it, or choose another context; {connection.kubectl('cluster-info')} shows more"
    )


def not_installed(kind: str, connection: Connection) -> MeshError:
    """Return the error which says that the cluster does not have Seldon Core 2."""
    return MeshError(
        f"Seldon Core 2 is not installed on this cluster, which has no {kind} of {API_VERSION}: install it with `helm "
        "install seldon-core-v2-crds seldon-charts/seldon-core-v2-crds` and the next steps in docs/cluster.md; "
        f"{connection.kubectl('api-resources --api-group mlops.seldon.io')} shows what is installed"
    )


def no_api_server(connection: Connection) -> MeshError:
    """Return the error which says that the server at the cluster's address is not an API server."""
    return MeshError(
        f"the server at {connection.server} is not a Kubernetes API server: check the address of "
        f"{connection}, and whether a proxy answers instead; {connection.kubectl('cluster-info')} shows more"
    )


def _reason(error: ApiException | HTTPError) -> str:
    if isinstance(error, ApiException):
        return str(error.reason)  # the TLS handshake failed
    if isinstance(error, LocationParseError):
        return "it is not an address"  # the error quotes the address, which may contain a password
    return str(getattr(error.__cause__, "strerror", None) or error.__cause__ or error)


def _refusal(error: ApiException, connection: Connection, subject: str) -> str:
    answer = _status(error)
    message, details = str(answer.get("message") or error.reason), answer.get("details") or {}
    if error.status == 401 or _ANONYMOUS in message:
        return (
            f"the cluster refuses the credentials for {connection}, which may have expired: log in again; "
            f"{connection.kubectl('auth whoami')} shows whether that helped"
        )
    if error.status == 403:
        return (
            f"the cluster forbids this ({message}): ask for a role that allows it; "
            f"{connection.kubectl('auth can-i --list')} shows what you may do"
        )
    if error.status == 404 and details.get("kind") == "namespaces":
        name = details.get("name")
        return (
            f"the cluster has no namespace '{name}': create it with `kubectl create namespace {name}`, or choose one "
            f"of those that {connection.kubectl('get namespaces')} shows"
        )
    if error.status == 409 and (causes := details.get("causes")):
        fields = "; ".join(f"{cause.get('field')}: {cause.get('message')}" for cause in causes)
        return (
            f"{subject} was not applied, because it would change fields that other managers own ({fields}): change "
            f"these fields with their managers, or delete {subject} and apply it again; "
            f"{connection.kubectl(f'get {subject} -o yaml --show-managed-fields')} shows the owners"
        )
    if error.status == 422:
        schema = connection.kubectl(f"explain {subject.partition('/')[0]}.spec")
        return f"the cluster rejects the manifest: {message}; {schema} shows the allowed fields"
    return f"the cluster answered {error.status}: {message}; {connection.kubectl('get events')} shows more"


def _status(error: ApiException) -> dict[str, Any]:
    """Return the Status that the API server sent with an error, or an empty dict if another server answered."""
    try:
        status = json.loads(error.body or "")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}
