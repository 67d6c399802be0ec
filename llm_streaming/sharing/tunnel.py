"""The mesh that another machine shares, and the tunnel to it.

The tunnel is an Envoy on loopback that adds TLS and the token to each request. Clients call it like a mesh of their
own, in plain HTTP and gRPC, without a token.
"""

from __future__ import annotations

from typing import Any

from llm_streaming.mesh.processes import envoy
from llm_streaming.mesh.processes.group import ProcessGroup, bypass_proxies, retry_if_port_taken
from llm_streaming.mesh.processes.ports import LOOPBACK, free_ports
from llm_streaming.mesh.remote.mesh import RemoteMesh, RequestClient
from llm_streaming.mesh.remote.requests import METRICS_PATH, PATH
from llm_streaming.sharing.invitation import Invitation


class SharedMesh(RemoteMesh):
    """The mesh that an invitation leads to. Closing it here closes the tunnel and leaves the mesh open there.

    Args:
        invitation: the text of the invitation (see `Invitation`).

    Raises:
        MeshError: the invitation is incomplete, the tunnel cannot be opened, or the mesh cannot be reached.
    """

    def __init__(self, invitation: str) -> None:
        to = Invitation.read(invitation)
        self._tunnel_address, self._tunnel = start_tunnel(to)
        absent = "the tunnel to the shared mesh has ended: connect again"
        client = RequestClient(f"http://{self._tunnel_address}", absent=absent)
        super().__init__(client, command=f"`llm-streaming up` at {to.address}")

    @property
    def closed(self) -> bool:
        """Whether the mesh can no longer be used, because it was closed here or the tunnel has ended."""
        return super().closed or self._tunnel.ended() is not None

    @property
    def address(self) -> str:
        """``host:port`` of the tunnel on this machine, for HTTP and gRPC."""
        return self._tunnel_address

    def metrics_address(self, server: str) -> str:
        """``host:port/path`` where a server shows its ``/metrics``; raises as `EmbeddedMesh.metrics_address` does.

        The servers' own ports are on loopback of the presenter's machine.
        """
        super().metrics_address(server)  # raises if there is no such server
        return f"{self.address}{METRICS_PATH}/{server}"

    def close(self) -> None:
        """Close the tunnel. May be called again."""
        super().close()
        self._tunnel.stop()


def start_tunnel(invitation: Invitation) -> tuple[str, ProcessGroup]:
    """Start a tunnel to the mesh of an invitation. It ends with this process, if not before.

    Returns:
        The tunnel's ``host:port`` on loopback, and its process.

    Raises:
        MeshError: Envoy is not installed, or does not start.
    """
    bypass_proxies()

    def start() -> tuple[str, ProcessGroup]:
        (port,) = free_ports(1)
        return f"{LOOPBACK}:{port}", envoy.start_envoy("tunnel", _config(port, invitation), (LOOPBACK, port))

    return retry_if_port_taken(start)


def _config(port: int, invitation: Invitation) -> dict[str, Any]:
    routes = [
        # A request may wait for a model for longer than Envoy lets a stream be silent.
        {"match": {"path": PATH}, "route": {"cluster": "mesh", "timeout": "0s", "idle_timeout": "0s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "mesh", "timeout": "0s"}},
    ]
    authorization = {
        "header": {"key": "authorization", "value": f"Bearer {invitation.token}"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",  # OpenAI's client always sends a token of its own
    }
    host = {"name": "mesh", "domains": ["*"], "routes": routes, "request_headers_to_add": [authorization]}
    manager = {
        "route_config": {"name": "mesh", "virtual_hosts": [host]},
        "local_reply_config": {"mappers": _error_messages(invitation.address)},
    }
    tls = {
        "@type": f"{envoy.TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"validation_context": {"verify_certificate_hash": [invitation.fingerprint]}},
    }
    mesh = envoy.cluster(
        "mesh",
        envoy.socket_address(invitation.host, invitation.port),
        envoy.SAME_PROTOCOL,
        type="STRICT_DNS",  # the host may be a name
        connect_timeout="5s",
        transport_socket=envoy.transport_socket(tls),
        # Cut the streams when the presenter's machine sleeps or has left the network.
        upstream_connection_options={
            "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5}
        },
    )
    return envoy.bootstrap([envoy.listener("mesh", (LOOPBACK, port), manager)], [mesh])


def _error_messages(address: str) -> list[dict[str, Any]]:
    """Say why the mesh cannot be reached, in place of Envoy's own words. The first filter that matches applies."""
    is_other = {
        "@type": f"{envoy.TYPES}.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        "expression": 'upstream.transport_failure_reason.contains("CERTIFICATE_VERIFY_FAILED")',
    }
    is_503 = {"comparison": {"op": "EQ", "value": {"default_value": 503, "runtime_key": "lost"}}}
    return [
        {
            "filter": {
                "extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": is_other}
            },
            "body": {
                "inline_string": f"the mesh at {address} is another one than the invitation is for, or was opened "
                "again: run the line that `llm-streaming up --share` printed last"
            },
        },
        {
            "filter": {"status_code_filter": is_503},
            "body": {
                "inline_string": f"the shared mesh at {address} cannot be reached: is `llm-streaming up --share` "
                "running there, and is this machine in the same network?"
            },
        },
    ]
