"""Free ports on the loopback interface, for servers that cannot choose one themselves."""

from __future__ import annotations

import socket
from contextlib import ExitStack

_HIGHEST_PORT = 65_535


def free_port(*, highest: int = _HIGHEST_PORT) -> int:
    """A port that no process listens on now. Another process may take it before the server does."""
    [port] = free_ports(1, highest=highest)
    return port


def free_ports(count: int, *, highest: int = _HIGHEST_PORT) -> list[int]:
    """As many different free ports, none above `highest`."""
    found: list[int] = []
    with ExitStack() as held:  # each socket stays bound until all ports are found, so that no port is found twice
        while len(found) < count:
            candidate = held.enter_context(socket.socket())
            candidate.bind(("127.0.0.1", 0))
            port: int = candidate.getsockname()[1]
            if port <= highest:
                found.append(port)
    return found
