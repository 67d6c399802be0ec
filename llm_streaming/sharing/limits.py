"""Limits of the gateway, so that no machine in the network can keep the guests of a shared mesh out.

The values are Envoy's recommendations for a proxy at the edge of a network, for one room instead of the internet.
"""

from __future__ import annotations

from llm_streaming.mesh.processes import envoy
from llm_streaming.mesh.processes.supervisor import most_open_files
from llm_streaming.mesh.remote.requests import ADDRESS_HEADER, MAX_BYTES

LISTENER: envoy.Part = {"per_connection_buffer_limit_bytes": 65_536}
"""Fields of the listener. A guest who does not read fills no more memory than this on each connection."""

MANAGER: envoy.Part = {
    "common_http_protocol_options": {"idle_timeout": "60s"},
    "request_headers_timeout": "10s",
    "request_timeout": "60s",  # until the whole request has arrived
    "http2_protocol_options": {
        "max_concurrent_streams": 100,
        "initial_stream_window_size": 65_536,
        "initial_connection_window_size": 1_048_576,
    },
}
"""Fields of the HTTP connection manager. An idle connection or an incomplete request is not kept open for ever."""

WHOLE_REQUESTS: envoy.Part = {
    **envoy.extension("filters.http.buffer", "filters.http.buffer.v3.Buffer", max_request_bytes=MAX_BYTES),
    "disabled": True,  # except on the route with `SERVICE_ROUTE`, because models read their requests as streams
}
"""The HTTP filter that waits for a whole request, so that a slow sender does not occupy a thread of the service."""

SERVICE_ROUTE: envoy.Part = {
    "typed_per_filter_config": {WHOLE_REQUESTS["name"]: envoy.typed("config.route.v3.FilterConfig", config={})},
    "request_headers_to_add": [envoy.header(ADDRESS_HEADER, "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%")],
}
"""Fields of the route to `GuestService`, which learns the address of the machine that sent a request."""

SERVICE_CLUSTER: envoy.Part = {
    "circuit_breakers": {
        "thresholds": [{"max_connections": 100, "max_pending_requests": 10_000, "max_requests": 10_000}]
    }
}
"""Fields of the cluster of `GuestService`: it carries out 100 requests at a time, and others wait."""


def overload_manager() -> envoy.Part:
    """Build the field of Envoy's configuration that closes new connections when there are too many.

    Each connection is an open file. Half of the files are for the callers, the other half for connections to the mesh.
    Without this limit, Envoy would have no file left to accept a connection with, and all callers would wait.
    """
    monitor = envoy.extension(
        "resource_monitors.global_downstream_max_connections",
        "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=most_open_files() // 2,
    )
    return {"resource_monitors": [monitor]}
