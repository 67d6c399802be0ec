"""The way into a shared mesh: an Envoy that speaks TLS, asks for the token, and is all that listens to the network."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes.envoy import (
    AS_IT_CAME,
    HTTP1,
    TYPES,
    bootstrap,
    cluster,
    listener,
    pipe_address,
    socket_address,
    start_envoy,
)
from llm_streaming.mesh.processes.ports import EVERYWHERE, LOOPBACK, free_ports, why_taken
from llm_streaming.mesh.remote.requests import METRICS_PATH, PATH
from llm_streaming.sharing.certificate import Certificate, self_signed
from llm_streaming.sharing.invitation import Invitation

REFUSED = (
    "this mesh is shared by a token, and the call had none or another one's: run the line that `llm-streaming up "
    "--share` printed last"
)

_ELSEWHERE = ("192.0.2.1", 9)  # an address for documentation: nothing is sent there


class Gateway:
    """Lets those who have an invitation use a mesh, until it is closed. Use as a context manager.

    Args:
        mesh: the mesh's port on loopback.
        metrics: each server's metrics port on loopback, by its name.
        control: the unix socket for guests (see `llm_streaming.mesh.remote.service`).
        host: the address to listen at; by default all of this machine.
        port: the port to listen at; by default a free one is found.

    Attributes:
        invitation: what leads others here.

    Raises:
        MeshError: the address is none of this machine, or the port is taken.
    """

    def __init__(
        self, mesh: int, metrics: Mapping[str, int], control: Path, *, host: str = EVERYWHERE, port: int | None = None
    ) -> None:
        at = (host, port or free_ports(1)[0])
        _check_free(*at)
        certificate, token = self_signed(), secrets.token_urlsafe()
        shown = _address() if host == EVERYWHERE else host
        self.invitation = Invitation(shown, at[1], token, certificate.fingerprint)
        clusters = [
            cluster("mesh", socket_address(LOOPBACK, mesh), AS_IT_CAME),
            cluster("control", pipe_address(control), HTTP1),
            *(cluster(f"metrics-{name}", socket_address(LOOPBACK, of), HTTP1) for name, of in metrics.items()),
        ]
        config = bootstrap([_listener(at, token, certificate, list(metrics))], clusters)
        self._group = start_envoy("gateway", config, at)

    def check(self) -> None:
        """Raise if it has ended by itself.

        Raises:
            MeshError: with its last lines.
        """
        if ended := self._group.ended():
            raise ended

    def close(self) -> None:
        """Let nobody in any more: streams that run are cut. May be called again."""
        self._group.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _listener(at: tuple[str, int], token: str, certificate: Certificate, servers: list[str]) -> dict[str, Any]:
    manager = {
        "route_config": {"name": "room", "virtual_hosts": [_virtual_host(servers)]},
        "local_reply_config": {"mappers": [_refusal()]},
        "use_remote_address": True,
        # Paths are matched as the servers behind read them.
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "request_headers_timeout": "10s",  # nobody holds a connection by sending half a request
    }
    tls = {
        "@type": f"{TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [
                {
                    "certificate_chain": {"inline_string": certificate.chain},
                    "private_key": {"inline_string": certificate.key},
                }
            ],
        },
    }
    return listener("room", at, manager, filters=[_token_filter(token)], tls=tls)


def _virtual_host(servers: list[str]) -> dict[str, Any]:
    """What there is behind the gateway; MLServer's repository API, above all, is not."""
    routes = [
        {"match": {"path": PATH}, "route": {"cluster": "control", "timeout": "0s", "idle_timeout": "0s"}},
        *(
            {
                "match": {"path": f"{METRICS_PATH}/{name}/metrics"},
                "route": {"cluster": f"metrics-{name}", "prefix_rewrite": "/metrics"},
            }
            for name in servers
        ),
        *(
            {"match": {"prefix": prefix}, "route": {"cluster": "mesh", "timeout": "0s"}}
            for prefix in ("/v2/models/", "/inference.GRPCInferenceService/Model")
        ),
    ]
    # MLServer hands every header of a request to the model: the token stays out of them.
    return {"name": "room", "domains": ["*"], "routes": routes, "request_headers_to_remove": ["authorization"]}


def _token_filter(token: str) -> dict[str, Any]:
    invited = {"header": {"name": "authorization", "string_match": {"exact": f"Bearer {token}"}}}
    rules = {"action": "ALLOW", "policies": {"invited": {"permissions": [{"any": True}], "principals": [invited]}}}
    kind = f"{TYPES}.extensions.filters.http.rbac.v3.RBAC"
    return {"name": "envoy.filters.http.rbac", "typed_config": {"@type": kind, "rules": rules}}


def _refusal() -> dict[str, Any]:
    """Envoy's own 403 is the token filter's: 401 says it better, and words what to do."""
    is_refusal = {"comparison": {"op": "EQ", "value": {"default_value": 403, "runtime_key": "refusal"}}}
    return {
        "filter": {"status_code_filter": is_refusal},
        "status_code": 401,
        "body": {"inline_string": REFUSED},
    }


def _check_free(host: str, port: int) -> None:
    if reason := why_taken(host, port):
        raise MeshError(
            f"the mesh cannot be shared at {host}:{port} ({reason}): choose another port by --share-port, or an "
            "address of this machine by --share-host"
        )


def _address() -> str:
    """This machine's address in the network that leads elsewhere; loopback where it is in none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])
