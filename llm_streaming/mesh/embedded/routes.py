"""Envoy's configuration for the embedded mesh.

The listener and the servers are fixed when Envoy starts. The routes to models are in a file of their own (xDS from the
file system), which is replaced atomically, so that streams go on while a model is added or removed.
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
    """The routes to the models of a mesh. Several threads may change them.

    Args:
        path: the file of routes, in a folder that is made for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._servers: dict[str, str] = {}  # by model
        self._changing = threading.Lock()
        path.parent.mkdir()
        self._write()

    def bootstrap(self, port: int, servers: Iterable[MLServer]) -> dict[str, Any]:
        """Build the configuration of an Envoy that listens on a port of loopback and watches the file of routes."""
        clusters = []
        for server in servers:
            http, grpc, _ = server.ports
            clusters.append(cluster(f"{server.name}-http", socket_address(LOOPBACK, http), HTTP1))
            clusters.append(cluster(f"{server.name}-grpc", socket_address(LOOPBACK, grpc), HTTP2))
        watched = {"path": str(self._path), "watched_directory": {"path": str(self._path.parent)}}
        rds = {"route_config_name": _ROUTES, "config_source": {"path_config_source": watched}}
        return envoy.bootstrap([listener("mesh", (LOOPBACK, port), {"rds": rds})], clusters)

    def add(self, model: str, server: MLServer) -> None:
        """Route requests for a model to its server, as soon as Envoy has read the file."""
        with self._changing:
            self._servers[model] = server.name
            self._write()

    def remove(self, model: str) -> None:
        """Remove a model's routes, if there are any, as soon as Envoy has read the file."""
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
        # Envoy reads the file when another is moved to its place. So it never reads half a file.
        draft = self._path.with_name(f".{self._path.name}.new")
        draft.write_text(json.dumps({"version_info": "1", "resources": [table]}))
        draft.replace(self._path)


def _routes(model: str, server: str) -> list[dict[str, Any]]:
    """The routes to one model.

    As on SC2 (contract §5) the header ``seldon-model`` decides; over REST it may be absent, and the model's name in the
    path decides. SC2 fills in the header by a filter; here a second route does the same without one.
    """
    named = {"name": "seldon-model", "string_match": {"exact": model}}
    unnamed = {"name": "seldon-model", "present_match": False}
    matches = [
        ({"prefix": "/inference.GRPCInferenceService", "headers": [named]}, "grpc"),
        ({"prefix": "/v2", "headers": [named]}, "http"),
        ({"path_separated_prefix": f"/v2/models/{model}", "headers": [unnamed]}, "http"),
    ]
    # A timeout of "0s" means none: an answer may stream for as long as it takes.
    return [
        {"match": match, "route": {"cluster": f"{server}-{protocol}", "timeout": "0s"}} for match, protocol in matches
    ]
