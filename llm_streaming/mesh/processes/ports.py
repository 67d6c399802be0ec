"""Finds free ports on this machine, checks whether a port is free or in use, and polls conditions."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable

LOOPBACK = "127.0.0.1"

PATIENCE = 600.0
"""The limit in seconds, like that of `Mesh.wait`, of steps that take seconds at most unless the machine is busy."""

EVERYWHERE = "0.0.0.0"  # noqa: S104 - only `up --share` listens there
"""The address for listening on all networks of this machine."""


def free_ports(count: int) -> list[int]:
    """Find ports on loopback on which no server listens.

    The ports are below the range from which the operating system takes ports for outgoing connections. So no outgoing
    connection can take a port before a server listens on it.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(20_000, 32_000)  # noqa: S311 - no secret
        if port not in ports and why_taken(LOOPBACK, port) is None:
            ports.append(port)
    return ports


def why_taken(host: str, port: int) -> str | None:
    """Return the system's reason why no server can listen on a port, or None if one can. Port 0 is any port."""
    try:
        socket.create_server((host, port)).close()
    except OverflowError:
        return "a port is a number from 1 to 65535"
    except OSError as error:
        return str(error.strerror).partition(" (while")[0]  # Python appends the address
    return None


def answers(host: str, port: int, *, timeout: float = 1.0) -> bool:
    """Return whether a server accepts connections at an address within `timeout` seconds."""
    try:
        socket.create_connection((LOOPBACK if host == EVERYWHERE else host, port), timeout=timeout).close()
    except OSError:
        return False
    return True


def wait_until(condition: Callable[[], bool], *, timeout: float, interval: float = 0.02) -> bool:
    """Poll a condition every `interval` seconds, and return whether it became true within `timeout` seconds.

    Use this for changes that cause no event: a server starts to listen, or a proxy starts to use a new route.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True
