"""The resources of one namespace: read, applied, deleted and followed (contract §6)."""

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

from llm_streaming.manifests import API_VERSION
from llm_streaming.mesh.kubernetes.config import Connection
from llm_streaming.mesh.kubernetes.errors import explain, is_transient, no_api_server, not_installed

FIELD_MANAGER = "llm-streaming"

_CONNECT_TIMEOUT = 5.0  # seconds
_READ_TIMEOUT = 30.0  # seconds
_WATCH = 30.0  # seconds a watch lasts at most, so that a connection that died in silence costs no more
_PAUSE = 0.2  # seconds between a watch's end and the next: nothing announces that the API server is back
_PATIENCE = 30.0  # seconds that the API server may be away while a resource is followed

# The client keeps what it discovers in a file that all users of /tmp share; one that cannot be written is left out.
_NO_CACHE = "/dev/null/none"

Resource = dict[str, Any]


class _Client(DynamicClient):
    """The dynamic client with time limits also for the calls that it makes by itself."""

    def request(self, method: str, path: str, body: object = None, **params: Any) -> Any:  # noqa: ANN401 - as above it
        params.setdefault("_request_timeout", (_CONNECT_TIMEOUT, _READ_TIMEOUT))
        return super().request(method, path, body, **params)


class Cluster:
    """The resources of one namespace of a cluster with Seldon Core 2.

    Every method raises `MeshError` where the API server refuses, fails or cannot be reached.

    Args:
        connection: the way to it.

    Raises:
        MeshError: it cannot be reached, refuses the credentials, or has no Seldon Core 2.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        try:
            with self._explaining():
                self._client = _Client(connection.client, cache_file=_NO_CACHE)  # type: ignore[no-untyped-call]
            self._resource("Model", API_VERSION)
        except (AttributeError, KeyError, TypeError, ValueError):  # what the client trips over in a login page, say
            raise no_api_server(connection) from None

    def get(self, kind: str, name: str, *, api_version: str = API_VERSION) -> Resource | None:
        """Read a resource; None if there is none of that name."""
        with self._explaining():
            return self._find(kind, name, api_version)

    def list(self, kind: str, *, api_version: str = API_VERSION, labels: str | None = None) -> list[Resource]:
        """Read all resources of a kind, or those with the given labels."""
        with self._explaining():
            items: list[Resource] = self._read(kind, api_version, label_selector=labels)["items"]
            return items

    def apply(self, manifest: Mapping[str, Any]) -> Resource:
        """Create or change a resource by server-side apply, and return it as it is now."""
        resource = self._resource(manifest["kind"], manifest["apiVersion"])
        with self._explaining(f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"):
            applied: Resource = resource.server_side_apply(
                body=dict(manifest), namespace=self.connection.namespace, field_manager=FIELD_MANAGER
            ).to_dict()
            return applied

    def delete(self, kind: str, name: str) -> str | None:
        """Have a resource removed; returns its uid before it is gone, or None if there is none of that name."""
        resource = self._resource(kind, API_VERSION)
        with self._explaining():
            try:
                answer = resource.delete(name=name, namespace=self.connection.namespace).to_dict()
            except NotFoundError:
                return None
        # A Status once it is gone, or the resource itself while a finalizer holds it.
        uid: str = answer["details" if answer["kind"] == "Status" else "metadata"]["uid"]
        return uid

    def follow(self, kind: str, name: str, *, deadline: float) -> Iterator[Resource | None]:
        """Yield a resource as it is and whenever it changes, None when it is absent; ends there, or at the deadline.

        A watch may end at any time, with 410, with 504 or with its connection: the resource is then read afresh.
        """
        answered = time.monotonic()
        while True:
            try:
                for state in self._watch(kind, name, deadline):
                    answered = time.monotonic()
                    yield state
                    if state is None:
                        return
            except (ApiException, HTTPError) as error:
                if not is_transient(error) or time.monotonic() > answered + _PATIENCE:
                    raise explain(error, self.connection) from None
            if time.monotonic() >= deadline:
                return
            time.sleep(_PAUSE)

    def log(self, pod: str, container: str) -> str:
        """What a container has printed."""
        path = f"/api/v1/namespaces/{self.connection.namespace}/pods/{pod}/log"
        with self._explaining():
            answer = self._client.request("get", path, query_params=[("container", container)], serialize=False)
            return str(answer.data.decode(errors="replace"))

    def _watch(self, kind: str, name: str, deadline: float) -> Iterator[Resource | None]:
        """Yield a resource and its changes, until this one watch ends."""
        current = self._find(kind, name, API_VERSION)
        yield current
        remaining = deadline - time.monotonic()
        if current is None or remaining <= 0:
            return
        seconds = math.ceil(min(_WATCH, remaining))
        events = Watch().stream(  # type: ignore[no-untyped-call]
            self._resource(kind, API_VERSION).get,
            namespace=self.connection.namespace,
            field_selector=f"metadata.name={name}",
            resource_version=current["metadata"]["resourceVersion"],
            timeout_seconds=seconds,
            _request_timeout=(_CONNECT_TIMEOUT, seconds),
            serialize=False,
        )
        for event in filter(None, events):  # a line that is no JSON, as of a connection that was cut, is None
            yield None if event["type"] == "DELETED" else event["object"]

    def _find(self, kind: str, name: str, api_version: str) -> Resource | None:
        try:
            return self._read(kind, api_version, name=name)
        except NotFoundError:
            return None

    def _read(self, kind: str, api_version: str, **which: str | None) -> Resource:
        resource = self._resource(kind, api_version)
        found: Resource = resource.get(namespace=self.connection.namespace, **which).to_dict()
        return found

    def _resource(self, kind: str, api_version: str) -> Any:  # noqa: ANN401 - the client's is not typed
        try:
            with self._explaining():
                return self._client.resources.get(api_version=api_version, kind=kind)
        except ResourceNotFoundError:
            raise not_installed(kind, self.connection) from None

    @contextmanager
    def _explaining(self, subject: str = "model") -> Iterator[None]:
        """Turn what the client raises into sentences."""
        try:
            yield
        except (ApiException, HTTPError) as error:
            raise explain(error, self.connection, subject) from None
