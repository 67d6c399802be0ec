"""The gateway of a shared mesh: an Envoy that listens on the network, uses TLS and requires the token."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes import envoy
from llm_streaming.mesh.processes.access import guarded_listener
from llm_streaming.mesh.processes.ports import EVERYWHERE, LOOPBACK, free_ports, why_taken
from llm_streaming.mesh.remote.requests import METRICS_PATH, PATH
from llm_streaming.sharing import limits
from llm_streaming.sharing.certificate import Certificate, self_signed
from llm_streaming.sharing.invitation import Invitation

REFUSED = (
    "this shared mesh requires a token, and the request's token is missing or wrong: run the line that "
    "`llm-streaming up --share` printed last"
)

_ELSEWHERE = ("192.0.2.1", 9)  # an address reserved for documentation (RFC 5737); no packet is sent to it


class Gateway:
    """Lets guests who have the invitation use a mesh, until the gateway is closed. Use as a context manager.

    Args:
        mesh: the mesh's port on loopback.
        metrics: the loopback port of each server's metrics, by the server's name.
        guests: the path of the unix socket of `GuestService`.
        host: the address to listen on; by default all addresses of this machine.
        port: the port to listen on; by default a free one.
        mesh_token: the token that the mesh requires, or None. Guests need only the invitation's.

    Attributes:
        invitation: the invitation, which points to this gateway.

    Raises:
        MeshError: this machine does not have the address, or the port is taken.
    """

    def __init__(
        self,
        mesh: int,
        metrics: Mapping[str, int],
        guests: Path,
        *,
        host: str = EVERYWHERE,
        port: int | None = None,
        mesh_token: str | None = None,
    ) -> None:
        port = port or free_ports(1)[0]
        if reason := why_taken(host, port):
            raise MeshError(
                f"the mesh cannot be shared at {host}:{port} ({reason}): choose another port with --share-port, or an "
                "address of this machine with --share-host"
            )
        certificate, token = self_signed(), secrets.token_urlsafe()
        public_host = _network_address() if host == EVERYWHERE else host
        self.invitation = Invitation(public_host, port, token, certificate.fingerprint)
        clusters = [
            envoy.cluster("mesh", envoy.socket_address(LOOPBACK, mesh), envoy.SAME_PROTOCOL),
            envoy.cluster("guests", envoy.pipe_address(guests), envoy.HTTP1, **limits.SERVICE_CLUSTER),
        ]
        local = {"host_rewrite_literal": LOOPBACK}  # the mesh does not answer to the gateway's name
        # Guests may use only these routes. MLServer's repository API is not one of them.
        routes = [
            {**envoy.route({"path": PATH}, "guests", idle_timeout="0s"), **limits.SERVICE_ROUTE},
            envoy.route({"prefix": "/v2/models/"}, "mesh", **local),
            envoy.route({"prefix": "/inference.GRPCInferenceService/Model"}, "mesh", **local),
        ]
        for name, metrics_port in metrics.items():
            cluster, path = f"metrics-{name}", f"{METRICS_PATH}/{name}/metrics"
            clusters.append(envoy.cluster(cluster, envoy.socket_address(LOOPBACK, metrics_port), envoy.HTTP1))
            routes.append(envoy.route({"path": path}, cluster, prefix_rewrite="/metrics", **local))
        table = envoy.route_table(
            "gateway",
            routes,
            # MLServer passes every request header to the model, which must not see the guests' token.
            request_headers_to_remove=["authorization"],
            request_headers_to_add=[envoy.bearer(mesh_token)] if mesh_token else [],
        )
        listener = {**_listener((host, port), public_host, table, token, certificate), **limits.LISTENER}
        config = {**envoy.bootstrap([listener], clusters), "overload_manager": limits.overload_manager()}
        self._group = envoy.start_envoy("gateway", config, (host, port))

    def check(self) -> None:
        """Raise `MeshError` with the last lines of the gateway's log if the gateway has stopped."""
        if ended := self._group.ended():
            raise ended

    def close(self) -> None:
        """Stop the gateway and cut its running streams. A second call does nothing."""
        self._group.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _listener(
    at: tuple[str, int], public_host: str, table: envoy.Part, token: str, certificate: Certificate
) -> envoy.Part:
    manager = {"route_config": table, "use_remote_address": True, **limits.MANAGER}
    chain, key = {"inline_string": certificate.chain}, {"inline_string": certificate.key}
    pair = {"certificate_chain": chain, "private_key": key}
    tls = {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [pair]}
    # Tunnels keep their callers' Host, so a request's Host is a name of loopback or, without a tunnel, the gateway's.
    return guarded_listener(
        "gateway",
        at,
        manager,
        token=token,
        unauthorized=REFUSED,
        hosts=[public_host],
        filters=[limits.WHOLE_REQUESTS],
        tls=tls,
    )


def _network_address() -> str:
    """Return this machine's address on the network of its default route, or loopback if there is no such route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])
