"""Envoy's configuration: the listener that stands for SC2's mesh, and routes that come and go with models.

The listener and the servers are fixed when Envoy starts. The routes are in a file of their own (xDS from the file
system), which is replaced atomically, so that a model can be added and removed under running streams.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_streaming.mesh.processes import LOOPBACK

_TYPES = "type.googleapis.com/envoy"
_ROUTES = "models"


def bootstrap(*, port: int, servers: Mapping[str, tuple[int, int]], routes: Path) -> dict[str, Any]:
    """Build Envoy's configuration.

    Args:
        port: where the mesh listens, on loopback.
        servers: HTTP and gRPC port of each server, by name.
        routes: the file that `write_routes` keeps.
    """
    clusters = [
        _cluster(f"{name}-{protocol}", upstream, http2=protocol == "grpc")
        for name, ports in servers.items()
        for protocol, upstream in zip(("http", "grpc"), ports, strict=True)
    ]
    node = {"id": "mesh", "cluster": "mesh"}  # Envoy asks for it wherever configuration may change
    return {"node": node, "static_resources": {"listeners": [_listener(port, routes)], "clusters": clusters}}


def write_routes(path: Path, placements: Mapping[str, str]) -> None:
    """Replace the routes by those of the models in `placements`, which names each one's server.

    As on SC2 (contract §5) the header ``seldon-model`` decides; over REST it may be absent, and the model's name in the
    path stands for it. SC2 fills the header by a filter; a second route does the same without one.
    """
    routes = [route for model, server in placements.items() for route in _routes(model, server)]
    table = {
        "@type": f"{_TYPES}.config.route.v3.RouteConfiguration",
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


def _listener(port: int, routes: Path) -> dict[str, Any]:
    watched = {"path_config_source": {"path": str(routes), "watched_directory": {"path": str(routes.parent)}}}
    manager = {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "mesh",
        "codec_type": "AUTO",  # HTTP/1.1 and gRPC's HTTP/2 on one port, as on SC2's
        "rds": {"route_config_name": _ROUTES, "config_source": watched},
        # An answer that breaks off is closed at once, so that clients see it break rather than wait.
        "delayed_close_timeout": "0s",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "name": "mesh",
        "address": _address(port),
        "enable_reuse_port": False,  # or two meshes could share a port, and each get half of the other's requests
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _cluster(name: str, port: int, *, http2: bool) -> dict[str, Any]:
    protocol: dict[str, Any] = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    unlimited = 1_000_000  # the stock limit of 1,024 requests would refuse the streams of a larger load test
    return {
        "name": name,
        "connect_timeout": "2s",
        "circuit_breakers": {
            "thresholds": [{"max_connections": unlimited, "max_pending_requests": unlimited, "max_requests": unlimited}]
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": protocol,
            }
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file and move it into place: Envoy acts on moves, and never reads half a file."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(json.dumps(content))
    draft.replace(path)
