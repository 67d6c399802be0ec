"""Where the mesh of a cluster is reached from here."""

from __future__ import annotations

import shutil
import socket
import sys
from typing import Any

from llm_streaming.errors import MeshError
from llm_streaming.mesh.kubernetes import port_forward
from llm_streaming.mesh.kubernetes.api import Cluster
from llm_streaming.mesh.kubernetes.config import Connection
from llm_streaming.mesh.processes.group import Process, ProcessGroup
from llm_streaming.mesh.processes.ports import LOOPBACK, free_ports, is_free, wait_until

SERVICE = "seldon-mesh"

_FORWARD_TIMEOUT = 15.0  # seconds; one or two are usual


class PortForwards:
    """Ports on loopback that lead into the cluster, for as long as this process lives.

    ``kubectl`` does it, started again whenever it loses its pod (see `port_forward`), in processes
    of its own that end with this one even if that is killed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._forwards: dict[str, tuple[str, ProcessGroup]] = {}

    def open(self, target: str, port: int) -> str:
        """Return the ``host:port`` that leads to a port of ``svc/<name>`` or ``pod/<name>``.

        Raises:
            MeshError: kubectl is not installed, or cannot reach the target.
        """
        if target in self._forwards:
            address, group = self._forwards[target]
            if not group.ended():
                return address
            group.stop()
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            by_hand = self._connection.kubectl(f"port-forward {target} 8080:{port}")
            raise MeshError(
                f"{target} has no address outside the cluster, and kubectl, which would lead there, is not on PATH: "
                f"run {by_hand} where it is, and use localhost:8080"
            )
        local = free_ports(1)[0]
        argv = [kubectl, *self._connection.argv(f"port-forward {target} {local}:{port}")[1:]]
        group = ProcessGroup()
        self._forwards[target] = (f"{LOOPBACK}:{local}", group)
        keeper = [sys.executable, "-m", port_forward.__name__]
        group.start([Process("kubectl", [*keeper, *argv], self._connection.environment())])
        wait_until(lambda: not is_free(local) or group.ended() is not None, timeout=_FORWARD_TIMEOUT)
        if is_free(local):
            said = " ".join(group.log("kubectl", lines=3).split()) or "kubectl said nothing"
            group.stop()
            again = self._connection.kubectl(f"port-forward {target} {local}:{port}")
            raise MeshError(f"{target} cannot be reached through the cluster ({said}): {again} shows more")
        return f"{LOOPBACK}:{local}"

    def has_lost_one(self) -> bool:
        """Whether one of them has been ended from outside."""
        return any(group.ended() for _, group in self._forwards.values())

    def close(self) -> None:
        """End them all; returns when they are gone."""
        for _, group in self._forwards.values():
            group.stop()
        self._forwards.clear()


def find_address(cluster: Cluster, forwards: PortForwards) -> str:
    """Find the ``host:port`` of the service ``seldon-mesh``, for HTTP and gRPC alike (contract §5).

    In this order: the load balancer's IP or hostname; inside a pod the service's own IP; a node's, if the service is
    of type NodePort; and else a port-forward.

    Raises:
        MeshError: there is no such service, its hostname cannot be resolved, or there is no way to it.
    """
    connection = cluster.connection
    service = cluster.get("Service", SERVICE, api_version="v1")
    if service is None:
        raise MeshError(
            f"there is no service {SERVICE} in {connection}: connect with the namespace in which "
            f"{connection.kubectl(f'get svc -A --field-selector metadata.name={SERVICE}')} shows it"
        )
    port = service["spec"]["ports"][0]
    ingress = (service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}])[0]
    if host := ingress.get("ip") or _resolvable(ingress.get("hostname"), connection):
        return _join(host, port["port"])
    if connection.context is None:
        return _join(service["spec"]["clusterIP"], port["port"])
    if service["spec"].get("type") == "NodePort" and (host := _node_if_allowed(cluster)):
        return _join(host, port["nodePort"])
    return forwards.open(f"svc/{SERVICE}", port["port"])


def _resolvable(hostname: str | None, connection: Connection) -> str | None:
    """Check that a load balancer's hostname is known: on AWS that takes minutes."""
    if hostname:
        try:
            socket.getaddrinfo(hostname, None)
        except OSError:
            raise MeshError(
                f"the hostname of the service {SERVICE}, {hostname}, cannot be resolved: wait a few minutes if it is "
                f"new; {connection.kubectl(f'get svc {SERVICE}')} shows it"
            ) from None
    return hostname


def _node_if_allowed(cluster: Cluster) -> str | None:
    """A node's address; None where a user may not see nodes, which belong to no namespace and to few users' roles."""
    try:
        return _node(cluster)
    except MeshError:
        return None


def _node(cluster: Cluster) -> str | None:
    """An address of a node, one that is reached from outside if there is any."""
    found: list[dict[str, Any]] = [
        address for node in cluster.list("Node", api_version="v1") for address in node["status"].get("addresses", [])
    ]
    by_type = {address["type"]: address["address"] for address in reversed(found)}
    return by_type.get("ExternalIP") or by_type.get("InternalIP")


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
