"""A mesh that another machine shares, and the tunnel to that mesh.

The tunnel is an Envoy on loopback that adds TLS and the token to each request. Clients call the tunnel
like a local mesh, over plain HTTP and gRPC and without a token.
"""

from __future__ import annotations

from llm_streaming.mesh.processes import envoy
from llm_streaming.mesh.processes.access import guarded_listener
from llm_streaming.mesh.processes.group import ProcessGroup, bypass_proxies, retry_if_port_taken
from llm_streaming.mesh.processes.ports import LOOPBACK, free_ports
from llm_streaming.mesh.processes.replies import cel, error_reply
from llm_streaming.mesh.remote.mesh import RemoteMesh
from llm_streaming.mesh.remote.requests import METRICS_PATH, PATH
from llm_streaming.sharing.invitation import Invitation


class SharedMesh(RemoteMesh):
    """The mesh to which the text of an `Invitation` points. Closing it closes the tunnel; the mesh itself stays open.

    Raises:
        MeshError: the invitation is incomplete, the tunnel cannot be opened, or the mesh cannot be reached.
    """

    def __init__(self, invitation: str) -> None:
        to = Invitation.read(invitation)
        address, self._tunnel = start_tunnel(to)
        absent = "the tunnel to the shared mesh has stopped: connect again"
        super().__init__(f"http://{address}", absent=absent, command=f"`llm-streaming up` at {to.address}")
        self._address = address  # the address that the mesh reports is valid only on the other machine

    @property
    def closed(self) -> bool:
        """Whether the mesh can no longer be used, because it was closed here or the tunnel has stopped."""
        return super().closed or self._tunnel.ended() is not None

    def metrics_address(self, server: str) -> str:
        """Return the ``host:port/path`` before a server's ``/metrics``; raises like `EmbeddedMesh.metrics_address`."""
        super().metrics_address(server)  # only to check that the server exists; the address is the other machine's
        return f"{self.address}{METRICS_PATH}/{server}"

    def close(self) -> None:
        """Close the tunnel. A second call does nothing."""
        super().close()
        self._tunnel.stop()


def start_tunnel(invitation: Invitation) -> tuple[str, ProcessGroup]:
    """Start a tunnel to a shared mesh, and return the tunnel's ``host:port`` on loopback and its process.

    Raises:
        MeshError: Envoy is not installed, or does not start.
    """
    bypass_proxies()

    def start() -> tuple[str, ProcessGroup]:
        (port,) = free_ports(1)
        return f"{LOOPBACK}:{port}", envoy.start_envoy("tunnel", _config(port, invitation), (LOOPBACK, port))

    return retry_if_port_taken(start)


def _config(port: int, invitation: Invitation) -> envoy.Part:
    # No idle timeout: a request may wait for a model longer than Envoy's default allows.
    routes = [envoy.route({"path": PATH}, "mesh", idle_timeout="0s"), envoy.route({"prefix": "/"}, "mesh")]
    table = envoy.route_table("mesh", routes, request_headers_to_add=[envoy.bearer(invitation.token)])
    replies = _error_messages(invitation.address)
    tls = {"validation_context": {"verify_certificate_hash": [invitation.fingerprint]}}
    # Shorter than the gateway's idle timeout, so that no request is sent on a connection that the gateway is closing.
    protocols = {**envoy.SAME_PROTOCOL, "common_http_protocol_options": {"idle_timeout": "30s"}}
    keepalive = {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5}
    mesh = envoy.cluster(
        "mesh",
        envoy.socket_address(invitation.host, invitation.port),
        protocols,
        type="STRICT_DNS",  # the host may be a name
        connect_timeout="5s",
        transport_socket=envoy.transport_socket("UpstreamTlsContext", tls),
        # Cut the streams when the presenter's machine sleeps or leaves the network.
        upstream_connection_options={"tcp_keepalive": keepalive},
    )
    listener = guarded_listener("mesh", (LOOPBACK, port), {"route_config": table}, replies=replies)
    return envoy.bootstrap([listener], [mesh])


def _error_messages(address: str) -> list[envoy.Part]:
    """Return the messages that replace Envoy's own if the mesh cannot be reached. Envoy uses the first match."""
    lost = (
        f"the shared mesh at {address} cannot be reached: is `llm-streaming up --share` running there, and is this "
        "machine in the same network?"
    )
    other = (
        f"the mesh at {address} is not the one of this invitation, or has been restarted: run the line that "
        "`llm-streaming up --share` printed last"
    )
    is_other = 'upstream.transport_failure_reason.contains("CERTIFICATE_VERIFY_FAILED")'
    return [*error_reply(cel(is_other), other), *error_reply(cel("response.code == 503"), lost)]
