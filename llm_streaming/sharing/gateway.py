"""The gateway of a shared mesh: an Envoy that listens to the network, speaks TLS and asks for the token."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes import envoy
from llm_streaming.mesh.processes.ports import EVERYWHERE, LOOPBACK, free_ports, why_taken
from llm_streaming.mesh.remote.requests import METRICS_PATH, PATH
from llm_streaming.sharing.certificate import Certificate, self_signed
from llm_streaming.sharing.invitation import Invitation

REFUSED = (
    "this mesh is shared by a token, and the call had none or a wrong one: run the line that `llm-streaming up "
    "--share` printed last"
)

_ELSEWHERE = ("192.0.2.1", 9)  # an address reserved for documentation (RFC 5737); nothing is sent there


class Gateway:
    """Lets those who have an invitation use a mesh, until it is closed. Use as a context manager.

    Args:
        mesh: the mesh's port on loopback.
        metrics: the port on loopback of each server's metrics, by the server's name.
        guests: the unix socket for guests (see `GuestService`).
        host: the address to listen at; by default all addresses of this machine.
        port: the port to listen at; by default a free one.

    Attributes:
        invitation: leads others here.

    Raises:
        MeshError: this machine does not have the address, or the port is taken.
    """

    def __init__(
        self, mesh: int, metrics: Mapping[str, int], guests: Path, *, host: str = EVERYWHERE, port: int | None = None
    ) -> None:
        address = (host, port or free_ports(1)[0])
        _check_free(*address)
        certificate, token = self_signed(), secrets.token_urlsafe()
        public_host = _network_address() if host == EVERYWHERE else host
        self.invitation = Invitation(public_host, address[1], token, certificate.fingerprint)
        clusters = [
            envoy.cluster("mesh", envoy.socket_address(LOOPBACK, mesh), envoy.SAME_PROTOCOL),
            envoy.cluster("guests", envoy.pipe_address(guests), envoy.HTTP1),
            *(
                envoy.cluster(f"metrics-{name}", envoy.socket_address(LOOPBACK, of), envoy.HTTP1)
                for name, of in metrics.items()
            ),
        ]
        config = envoy.bootstrap([_listener(address, token, certificate, list(metrics))], clusters)
        self._group = envoy.start_envoy("gateway", config, address)

    def check(self) -> None:
        """Check that the gateway is running.

        Raises:
            MeshError: it has ended; the message has its last lines.
        """
        if ended := self._group.ended():
            raise ended

    def close(self) -> None:
        """End the gateway; running streams are cut. May be called again."""
        self._group.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _listener(address: tuple[str, int], token: str, certificate: Certificate, servers: list[str]) -> dict[str, Any]:
    manager = {
        "route_config": {"name": "gateway", "virtual_hosts": [_virtual_host(servers)]},
        "local_reply_config": {"mappers": [_refusal()]},
        "use_remote_address": True,
        # Match paths as the servers behind the gateway read them.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "request_headers_timeout": "10s",  # half a request must not hold a connection for ever
    }
    pair = {
        "certificate_chain": {"inline_string": certificate.chain},
        "private_key": {"inline_string": certificate.key},
    }
    tls = {
        "@type": f"{envoy.TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [pair]},
    }
    return envoy.listener("gateway", address, manager, filters=[_token_filter(token)], tls=tls)


def _virtual_host(servers: list[str]) -> dict[str, Any]:
    """Route what guests may call: requests to the mesh, metrics and models, but not MLServer's repository API."""
    requests = {"match": {"path": PATH}, "route": {"cluster": "guests", "timeout": "0s", "idle_timeout": "0s"}}
    metrics = [
        {
            "match": {"path": f"{METRICS_PATH}/{name}/metrics"},
            "route": {"cluster": f"metrics-{name}", "prefix_rewrite": "/metrics"},
        }
        for name in servers
    ]
    models = [
        {"match": {"prefix": prefix}, "route": {"cluster": "mesh", "timeout": "0s"}}
        for prefix in ("/v2/models/", "/inference.GRPCInferenceService/Model")
    ]
    return {
        "name": "gateway",
        "domains": ["*"],
        "routes": [requests, *metrics, *models],
        # MLServer hands every header of a request to the model. The token must not get there.
        "request_headers_to_remove": ["authorization"],
    }


def _token_filter(token: str) -> dict[str, Any]:
    invited = {"header": {"name": "authorization", "string_match": {"exact": f"Bearer {token}"}}}
    rules = {"action": "ALLOW", "policies": {"invited": {"permissions": [{"any": True}], "principals": [invited]}}}
    kind = f"{envoy.TYPES}.extensions.filters.http.rbac.v3.RBAC"
    return {"name": "envoy.filters.http.rbac", "typed_config": {"@type": kind, "rules": rules}}


def _refusal() -> dict[str, Any]:
    """Rewrite the token filter's 403 to 401, with a hint. Envoy itself answers 403 for no other reason."""
    is_403 = {"comparison": {"op": "EQ", "value": {"default_value": 403, "runtime_key": "refusal"}}}
    return {"filter": {"status_code_filter": is_403}, "status_code": 401, "body": {"inline_string": REFUSED}}


def _check_free(host: str, port: int) -> None:
    if reason := why_taken(host, port):
        raise MeshError(
            f"the mesh cannot be shared at {host}:{port} ({reason}): choose another port with --share-port, or an "
            "address of this machine with --share-host"
        )


def _network_address() -> str:
    """Return this machine's address in the network of its default route; loopback if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])
