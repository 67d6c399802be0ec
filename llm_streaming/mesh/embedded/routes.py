"""Envoy's configuration: the listener that stands for SC2's mesh, and routes that come and go with models.

The listener and the servers are fixed when Envoy starts. The routes are in a file of their own (xDS from the file
system), which is replaced atomically, so that a model can be added and removed under running streams.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_streaming.mesh.processes import envoy
from llm_streaming.mesh.processes.envoy import HTTP1, HTTP2, cluster, listener, socket_address
from llm_streaming.mesh.processes.ports import LOOPBACK

_ROUTES = "models"


def bootstrap(*, port: int, servers: Mapping[str, tuple[int, int]], routes: Path) -> dict[str, Any]:
    """Build Envoy's configuration.

    Args:
        port: where the mesh listens, on loopback.
        servers: HTTP and gRPC port of each server, by name.
        routes: the file that `write_routes` keeps.
    """
    clusters = [
        cluster(f"{name}-{protocol}", socket_address(LOOPBACK, upstream), HTTP2 if protocol == "grpc" else HTTP1)
        for name, ports in servers.items()
        for protocol, upstream in zip(("http", "grpc"), ports, strict=True)
    ]
    watched = {"path_config_source": {"path": str(routes), "watched_directory": {"path": str(routes.parent)}}}
    rds = {"route_config_name": _ROUTES, "config_source": watched}
    return envoy.bootstrap([listener("mesh", (LOOPBACK, port), {"rds": rds})], clusters)


def write_routes(path: Path, placements: Mapping[str, str]) -> None:
    """Replace the routes by those of the models in `placements`, which names each one's server.

    As on SC2 (contract §5) the header ``seldon-model`` decides; over REST it may be absent, and the model's name in the
    path stands for it. SC2 fills the header by a filter; a second route does the same without one.
    """
    routes = [route for model, server in placements.items() for route in _routes(model, server)]
    table = {
        "@type": f"{envoy.TYPES}.config.route.v3.RouteConfiguration",
        "name": _ROUTES,
        "virtual_hosts": [{"name": "mesh", "domains": ["*"], "routes": routes}],
    }
    _replace(path, {"version_info": "1", "resources": [table]})


def _routes(model: str, server: str) -> list[dict[str, Any]]:
    named = {"name": "seldon-model", "string_match": {"exact": model}}
    unnamed = {"name": "seldon-model", "present_match": False}
    matches = [
        ({"prefix": "/inference.GRPCInferenceService", "headers": [named]}, "grpc"),
        ({"prefix": "/v2", "headers": [named]}, "http"),
        ({"path_separated_prefix": f"/v2/models/{model}", "headers": [unnamed]}, "http"),
    ]
    # "0s" is "never": an answer may stream for as long as it likes.
    return [
        {"match": match, "route": {"cluster": f"{server}-{protocol}", "timeout": "0s"}} for match, protocol in matches
    ]


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file and move it into place: Envoy acts on moves, and never reads half a file."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(content))
    draft.replace(path)
