"""Free ports on loopback."""

from __future__ import annotations

import random
import socket

# Below those that the system gives to clients: one of these could take a port before its server.
_PORTS = range(10_000, 32_000)


def free_ports(count: int) -> list[int]:
    """As many ports, all different, that nothing listens on now."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", random.SystemRandom().choice(_PORTS)))
            except OSError:
                one.close()
            else:
                sockets.append(one)
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
