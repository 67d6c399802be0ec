"""Envoy's configuration for the embedded mesh.

The listener and the servers are fixed when Envoy starts. The routes to models are in a separate file, which Envoy
watches (file-based xDS). The file is replaced atomically, so adding or removing a model does not interrupt streams.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llm_streaming.mesh.embedded.mlserver import MLServer
from llm_streaming.mesh.processes import envoy
from llm_streaming.mesh.processes.envoy import HTTP1, HTTP2, cluster, listener, socket_address
from llm_streaming.mesh.processes.ports import LOOPBACK

_ROUTES = "models"


class Routes:
    """The routes to the models of a mesh. Several threads may add and remove routes.

    Args:
        path: the file for the routes. Its folder is created, so it must not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._servers: dict[str, str] = {}  # by the model's name
        self._changing = threading.Lock()
        path.parent.mkdir()
        self._write()

    def bootstrap(self, port: int, servers: Iterable[MLServer]) -> dict[str, Any]:
        """Build the configuration for an Envoy that listens on a loopback port and watches the file of routes."""
        clusters = []
        for server in servers:
            http, grpc, _ = server.ports
            clusters.append(cluster(f"{server.name}-http", socket_address(LOOPBACK, http), HTTP1))
            clusters.append(cluster(f"{server.name}-grpc", socket_address(LOOPBACK, grpc), HTTP2))
        watched = {"path": str(self._path), "watched_directory": {"path": str(self._path.parent)}}
        rds = {"route_config_name": _ROUTES, "config_source": {"path_config_source": watched}}
        return envoy.bootstrap([listener("mesh", (LOOPBACK, port), {"rds": rds})], clusters)

    def add(self, model: str, server: MLServer) -> None:
        """Route requests for a model to a server. The route works once Envoy has read the file."""
        with self._changing:
            self._servers[model] = server.name
            self._write()

    def remove(self, model: str) -> None:
        """Remove a model's routes, if there are any. They work until Envoy has read the file."""
        with self._changing:
            self._servers.pop(model, None)
            self._write()

    def _write(self) -> None:
        routes = [route for model, server in self._servers.items() for route in _routes(model, server)]
        table = {
            "@type": f"{envoy.TYPES}.config.route.v3.RouteConfiguration",
            "name": _ROUTES,
            "virtual_hosts": [{"name": "mesh", "domains": ["*"], "routes": routes}],
        }
        # Envoy reads the file only when a file is moved to this path, so Envoy never reads an incomplete file.
        draft = self._path.with_name(f".{self._path.name}.new")
        draft.write_text(json.dumps({"version_info": "1", "resources": [table]}))
        draft.replace(self._path)


def _routes(model: str, server: str) -> list[dict[str, Any]]:
    """Build the routes to one model.

    As on SC2 (contract §5), the header ``seldon-model`` selects the model. If a REST request has no such header, the
    model's name in the path selects it. SC2 adds the header with a filter; here a second route has the same effect.
    """
    named = {"name": "seldon-model", "string_match": {"exact": model}}
    unnamed = {"name": "seldon-model", "present_match": False}
    matches = [
        ({"prefix": "/inference.GRPCInferenceService", "headers": [named]}, "grpc"),
        ({"prefix": "/v2", "headers": [named]}, "http"),
        ({"path_separated_prefix": f"/v2/models/{model}", "headers": [unnamed]}, "http"),
    ]
    # "0s" disables the timeout, because an answer may stream for any length of time.
    return [
        {"match": match, "route": {"cluster": f"{server}-{protocol}", "timeout": "0s"}} for match, protocol in matches
    ]
