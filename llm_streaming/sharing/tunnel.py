"""The way to a shared mesh: an Envoy on this machine's loopback that knows the token and whom to trust.

Clients call it as they would a mesh of their own, in plain HTTP and gRPC and without a token.
"""

from __future__ import annotations

import atexit
import contextlib
from typing import Any

from llm_streaming.errors import MeshError
from llm_streaming.mesh.processes.environment import bypass_proxies
from llm_streaming.mesh.processes.envoy import (
    AS_IT_CAME,
    TYPES,
    bootstrap,
    cluster,
    listener,
    socket_address,
    start_envoy,
)
from llm_streaming.mesh.processes.envoy import transport_socket as over
from llm_streaming.mesh.processes.ports import LOOPBACK, free_ports
from llm_streaming.mesh.remote.requests import PATH
from llm_streaming.sharing.invitation import Invitation

_TRIES = 3


class Tunnel:
    """Leads from a port of loopback to a shared mesh, for as long as this process lives.

    Args:
        invitation: which mesh.

    Attributes:
        address: ``host:port`` on loopback.

    Raises:
        MeshError: Envoy is not installed, or does not start.
    """

    def __init__(self, invitation: Invitation) -> None:
        bypass_proxies()
        self._open(invitation)
        atexit.register(self.close)

    @property
    def ended(self) -> bool:
        """Whether it leads nowhere any more."""
        return self._group.ended() is not None

    def close(self) -> None:
        """End it; returns when its process and its file are gone. May be called again."""
        self._group.stop()
        atexit.unregister(self.close)

    def _open(self, invitation: Invitation) -> None:
        """Start Envoy, again where somebody else has taken the port meanwhile."""
        for last in (*(False,) * (_TRIES - 1), True):
            (port,) = free_ports(1)
            self.address = f"{LOOPBACK}:{port}"
            with contextlib.nullcontext() if last else contextlib.suppress(MeshError):
                self._group = start_envoy("tunnel", _config(port, invitation), (LOOPBACK, port))
                return


def _config(port: int, invitation: Invitation) -> dict[str, Any]:
    routes = [
        # A call may wait for a model for longer than Envoy lets a stream be silent.
        {"match": {"path": PATH}, "route": {"cluster": "mesh", "timeout": "0s", "idle_timeout": "0s"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "mesh", "timeout": "0s"}},
    ]
    authorization = {
        "header": {"key": "authorization", "value": f"Bearer {invitation.token}"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",  # OpenAI's client always sends one of its own
    }
    host = {"name": "mesh", "domains": ["*"], "routes": routes, "request_headers_to_add": [authorization]}
    manager = {
        "route_config": {"name": "mesh", "virtual_hosts": [host]},
        "local_reply_config": {"mappers": _replies(invitation.address)},
    }
    tls = {
        "@type": f"{TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"validation_context": {"verify_certificate_hash": [invitation.fingerprint]}},
    }
    mesh = cluster(
        "mesh",
        socket_address(invitation.host, invitation.port),
        AS_IT_CAME,
        type="STRICT_DNS",  # the host may be a name
        connect_timeout="5s",
        transport_socket=over(tls),
        # A presenter's machine that sleeps, or has left the network, says nothing: streams are cut then.
        upstream_connection_options={
            "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5}
        },
    )
    return bootstrap([listener("mesh", (LOOPBACK, port), manager)], [mesh])


def _replies(address: str) -> list[dict[str, Any]]:
    """What whoever calls is told when the mesh cannot be reached, or is not the one that was meant."""
    stranger = 'upstream.transport_failure_reason.contains("CERTIFICATE_VERIFY_FAILED")'
    cel = {"@type": f"{TYPES}.extensions.access_loggers.filters.cel.v3.ExpressionFilter", "expression": stranger}
    is_lost = {"comparison": {"op": "EQ", "value": {"default_value": 503, "runtime_key": "lost"}}}
    return [
        _reply(
            {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": cel}},
            f"who answers at {address} is not the mesh that was meant, or it was opened anew: run the line that "
            "`llm-streaming up --share` printed last",
        ),
        _reply(
            {"status_code_filter": is_lost},
            f"the shared mesh at {address} cannot be reached: is `llm-streaming up --share` running there, and is this "
            "machine in the same network?",
        ),
    ]


def _reply(when: dict[str, Any], words: str) -> dict[str, Any]:
    return {"filter": when, "body_format_override": {"text_format_source": {"inline_string": words}}}
