"""The Kubernetes API for one namespace: read, apply, delete and watch resources (contract §6)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kubernetes.client import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError
from kubernetes.watch import Watch
from urllib3.exceptions import HTTPError

from llm_streaming.manifests import API_VERSION, Model, Server
from llm_streaming.mesh.kubernetes.config import Connection
from llm_streaming.mesh.kubernetes.errors import explain, is_transient, no_api_server, not_installed

FIELD_MANAGER = "llm-streaming"

_CONNECT_TIMEOUT = 5.0  # seconds
_READ_TIMEOUT = 30.0  # seconds
_WATCH_TIME = 30.0  # seconds that a watch lasts at most, because its connection may break unnoticed
_PAUSE = 0.2  # seconds before the next watch; nothing announces that the API server is back
_PATIENCE = 30.0  # seconds for which the API server may be unavailable while a resource is followed

# By default the client caches the results of API discovery in /tmp, in a file that all users of the machine share. If
# the file cannot be written, the client does not cache them.
_NO_CACHE = "/dev/null/none"

Resource = dict[str, Any]


class _Client(DynamicClient):
    """The dynamic client, which also applies timeouts to its API-discovery requests."""

    def request(self, method: str, path: str, body: object = None, **params: Any) -> Any:  # noqa: ANN401 - as inherited
        params.setdefault("_request_timeout", (_CONNECT_TIMEOUT, _READ_TIMEOUT))
        return super().request(method, path, body, **params)


class Cluster:
    """The resources of one namespace of a cluster with Seldon Core 2.

    Every method raises `MeshError` if the API server rejects the request, fails or cannot be reached.

    Raises:
        MeshError: the cluster cannot be reached, rejects the credentials, or has no Seldon Core 2.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        try:
            with self._errors():
                self._client = _Client(connection.client, cache_file=_NO_CACHE)  # type: ignore[no-untyped-call]
                self._resource("Model")
        except (AttributeError, KeyError, TypeError, ValueError):  # the answer is not the API's, but say a login page
            raise no_api_server(connection) from None

    def get(self, kind: str, name: str) -> Resource | None:
        """Return a resource, or None if there is no such resource."""
        with self._errors():
            return self._find(kind, name)

    def list(self, kind: str, *, labels: str | None = None) -> list[Resource]:
        """Return all resources of a kind, or those that match a label selector."""
        with self._errors():
            items: list[Resource] = self._read(kind, label_selector=labels)["items"]
            return items

    def apply(self, manifest: Mapping[str, Any]) -> Resource:
        """Create or change a resource by server-side apply, and return its new state."""
        kind, metadata, namespace = manifest["kind"], manifest["metadata"], self.connection.namespace
        body = {**manifest, "metadata": {**metadata, "namespace": namespace}}
        with self._errors(f"{kind.lower()}/{metadata['name']}"):
            apply = self._resource(kind).server_side_apply
            applied: Resource = apply(body=body, namespace=namespace, field_manager=FIELD_MANAGER).to_dict()
            return applied

    def delete(self, kind: str, name: str) -> str | None:
        """Start to delete a resource, and return its uid, or None if there is no such resource."""
        with self._errors():
            try:
                answer = self._resource(kind).delete(name=name, namespace=self.connection.namespace).to_dict()
            except NotFoundError:
                return None
        # The answer is a Status if the resource is gone, or the resource itself if a finalizer delays its deletion.
        uid: str = answer["details" if answer["kind"] == "Status" else "metadata"]["uid"]
        return uid

    def follow(self, kind: str, name: str, *, deadline: float) -> Iterator[Resource | None]:
        """Yield the current and later states of a resource until the deadline, in seconds of `time.monotonic`.

        If the resource does not exist or is deleted, the last state is None. Whenever a watch ends, be it with 410, 504
        or a broken connection, the resource is read again and a new watch starts.
        """
        away_since: float | None = None
        while True:
            try:
                for state in self._watch(kind, name, deadline):
                    away_since = None
                    yield state
                    if state is None:
                        return
            except (ApiException, HTTPError) as error:
                away_since = away_since or time.monotonic()
                if not is_transient(error) or time.monotonic() > away_since + _PATIENCE:
                    raise explain(error, self.connection) from None
            if time.monotonic() >= deadline:
                return
            time.sleep(_PAUSE)

    def log(self, pod: str, container: str) -> str:
        """Return the log of a container."""
        path = f"/api/v1/namespaces/{self.connection.namespace}/pods/{pod}/log"
        with self._errors():
            answer = self._client.request("get", path, query_params=[("container", container)], serialize=False)
            return str(answer.data.decode(errors="replace"))

    def _watch(self, kind: str, name: str, deadline: float) -> Iterator[Resource | None]:
        """Yield the current and later states of a resource until one watch ends."""
        current = self._find(kind, name)
        yield current
        remaining = deadline - time.monotonic()
        if current is None or remaining <= 0:
            return
        seconds = math.ceil(min(_WATCH_TIME, remaining))
        events = Watch().stream(  # type: ignore[no-untyped-call]
            self._resource(kind).get,
            namespace=self.connection.namespace,
            field_selector=f"metadata.name={name}",
            resource_version=current["metadata"]["resourceVersion"],
            timeout_seconds=seconds,
            _request_timeout=(_CONNECT_TIMEOUT, seconds),
            serialize=False,
        )
        for event in filter(None, events):  # None is a line that is not JSON, from a broken connection
            yield None if event["type"] == "DELETED" else event["object"]

    def _find(self, kind: str, name: str) -> Resource | None:
        try:
            return self._read(kind, name=name)
        except NotFoundError:
            return None

    def _read(self, kind: str, **selection: str | None) -> Resource:
        found: Resource = self._resource(kind).get(namespace=self.connection.namespace, **selection).to_dict()
        return found

    def _resource(self, kind: str) -> Any:  # noqa: ANN401 - the client is not typed
        api_version = API_VERSION if kind in (Model.kind, Server.kind) else "v1"
        try:
            return self._client.resources.get(api_version=api_version, kind=kind)
        except ResourceNotFoundError:
            raise not_installed(kind, self.connection) from None

    @contextmanager
    def _errors(self, subject: str = "model") -> Iterator[None]:
        """Replace the client's errors with `MeshError`, whose message is one sentence."""
        try:
            yield
        except (ApiException, HTTPError) as error:
            raise explain(error, self.connection, subject) from None
