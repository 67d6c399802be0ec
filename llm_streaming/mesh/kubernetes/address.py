"""Finds the address of the mesh on a cluster."""

from __future__ import annotations

import socket

from llm_streaming.errors import MeshError
from llm_streaming.mesh.kubernetes.api import Cluster
from llm_streaming.mesh.kubernetes.config import Connection
from llm_streaming.mesh.kubernetes.port_forward import PortForwards

SERVICE = "seldon-mesh"


def find_address(cluster: Cluster, forwards: PortForwards) -> str:
    """Find the ``host:port`` of the service ``seldon-mesh``, which serves both HTTP and gRPC (contract §5).

    The first that exists is used: the IP or hostname of the load balancer; inside a pod, the service's own IP; a node's
    address, if the service has the type NodePort; a port-forward.

    Raises:
        MeshError: there is no such service, its hostname cannot be resolved, or the port-forward fails.
    """
    connection = cluster.connection
    service = cluster.get("Service", SERVICE)
    if service is None:
        raise MeshError(
            f"there is no service {SERVICE} in {connection}: to find its namespace, run "
            f"{connection.kubectl(f'get svc -A --field-selector metadata.name={SERVICE}')}, and pass the namespace to "
            "connect"
        )
    spec, port = service["spec"], service["spec"]["ports"][0]
    ingress = (service.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}])[0]
    if host := ingress.get("ip") or ingress.get("hostname"):
        _check_hostname(host, connection)
        return _join(host, port["port"])
    if connection.context is None:
        return _join(spec["clusterIP"], port["port"])
    if spec.get("type") == "NodePort" and (host := _node_address(cluster)):
        return _join(host, port["nodePort"])
    return forwards.open(f"svc/{SERVICE}", port["port"])


def _check_hostname(hostname: str, connection: Connection) -> None:
    """Check that a load balancer's hostname can be resolved. On AWS, a new hostname cannot for some minutes."""
    try:
        socket.getaddrinfo(hostname, None)
    except OSError:
        raise MeshError(
            f"the hostname of the service {SERVICE}, {hostname}, cannot be resolved: wait a few minutes if it is new; "
            f"{connection.kubectl(f'get svc {SERVICE}')} shows it"
        ) from None


def _node_address(cluster: Cluster) -> str | None:
    """Return a node's address, preferably an external one. Return None if the user, like most, may not list nodes."""
    try:
        nodes = cluster.list("Node")
    except MeshError:
        return None
    found = [address for node in nodes for address in node["status"].get("addresses", [])]
    by_type: dict[str, str] = {address["type"]: address["address"] for address in reversed(found)}
    return by_type.get("ExternalIP") or by_type.get("InternalIP")


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
