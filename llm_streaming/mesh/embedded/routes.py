"""Envoy's configuration for the embedded mesh.

The listener and the servers are fixed when Envoy starts. The routes to models are in a separate file, which Envoy
watches (file-based xDS). The file is replaced atomically, so adding or removing a model does not interrupt streams.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.embedded.storage import writing_to
from llm_streaming.mesh.processes import envoy
from llm_streaming.mesh.processes.access import guarded_listener
from llm_streaming.mesh.processes.envoy import HTTP1, HTTP2, Part, cluster, pipe_address, route
from llm_streaming.mesh.processes.ports import LOOPBACK
from llm_streaming.mesh.processes.replies import lost_server_replies, refuse

_ROUTES = "models"


class Routes:
    """The routes to the models of a mesh. Several threads may change them, and they apply once Envoy has read the file.

    Args:
        path: the file for the routes. Its folder is created, so it must not exist yet.

    Raises:
        MeshError: the file cannot be written; every method raises this error, and then changes nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_model: dict[str, list[Part]] = {}
        self._changing = threading.Lock()
        path.parent.mkdir()
        self._write({})

    def bootstrap(self, port: int, servers: Iterable[MLServer], token: str | None = None) -> Part:
        """Build the configuration for an Envoy that watches the file of routes.

        Args:
            port: the loopback port for requests to models.
            servers: the servers; the metrics of each are served on a loopback port of their own.
            token: the bearer token that requests to models must have; by default none.
        """
        watched = {"path": str(self._path), "watched_directory": {"path": str(self._path.parent)}}
        rds = {"route_config_name": _ROUTES, "config_source": {"path_config_source": watched}}
        listeners = [
            guarded_listener("mesh", (LOOPBACK, port), {"rds": rds}, token=token, replies=lost_server_replies())
        ]
        clusters = []
        for server in servers:
            listeners.append(_metrics_listener(server))
            clusters.append(cluster(f"{server.name}-http", pipe_address(server.socket("http")), HTTP1))
            clusters.append(cluster(f"{server.name}-grpc", pipe_address(server.socket("grpc:0")), HTTP2))
            clusters.append(cluster(f"{server.name}-metrics", pipe_address(server.socket("metrics")), HTTP1))
        return envoy.bootstrap(listeners, clusters)

    def add(self, model: str, server: MLServer) -> None:
        """Route requests for a model to a server."""
        # No timeout, because an answer may stream for any length of time.
        self._set(model, [route(match, f"{server.name}-{protocol}") for match, protocol in _matches(model)])

    def refuse(self, model: str, sentence: str) -> None:
        """Answer requests for a model with status 503 and a sentence."""
        self._set(model, [refuse(match, sentence, grpc=protocol == "grpc") for match, protocol in _matches(model)])

    def remove(self, model: str) -> None:
        """Remove a model's routes, if there are any."""
        self._set(model, [])

    def _set(self, model: str, routes: list[Part]) -> None:
        with self._changing:
            if self._by_model.get(model, []) == routes:
                return
            changed = {name: each for name, each in {**self._by_model, model: routes}.items() if each}
            self._write(changed)
            self._by_model = changed

    def _write(self, by_model: Mapping[str, Iterable[Part]]) -> None:
        routes = [route for routes in by_model.values() for route in routes]
        # MLServer passes every request header to the model, which must not see a token.
        table = envoy.route_table(_ROUTES, routes, request_headers_to_remove=["authorization"])
        resource = envoy.typed("config.route.v3.RouteConfiguration", **table)
        # Envoy reads the file only when a file is moved to this path, so Envoy never reads an incomplete file.
        draft = self._path.with_name(f".{self._path.name}.new")
        with writing_to(self._path):
            draft.write_text(json.dumps({"version_info": "1", "resources": [resource]}))
            draft.replace(self._path)


def _metrics_listener(server: MLServer) -> Part:
    name = f"{server.name}-metrics"
    manager = {"route_config": envoy.route_table(name, [route({"path": "/metrics"}, name)])}
    return guarded_listener(name, (LOOPBACK, server.metrics_port), manager)


def _matches(model: str) -> list[tuple[Part, str]]:
    """Build what selects the requests for one model, each with the protocol of these requests.

    As on SC2 (contract §5), the header ``seldon-model`` selects the model. If a REST request has no such header, the
    model's name in the path selects it. SC2 adds the header with a filter; here a second route has the same effect.
    Unlike on SC2, only paths of models have a route, so MLServer's repository and documentation have none.
    """
    named = {"name": "seldon-model", "string_match": {"exact": model}}
    unnamed = {"name": "seldon-model", "present_match": False}
    return [
        ({"prefix": "/inference.GRPCInferenceService/Model", "headers": [named]}, "grpc"),
        ({"prefix": "/v2/models/", "headers": [named]}, "http"),
        ({"path_separated_prefix": f"/v2/models/{model}", "headers": [unnamed]}, "http"),
    ]
