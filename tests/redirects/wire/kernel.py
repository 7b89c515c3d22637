"""What the kernel knows of a connection of this host: whether its other end has read everything.

Where a packet ends is seen by nobody but the server that reads, and some answers of gunicorn's
parser (the words of a refusal) depend on it. So that each piece is a read of its own, the next is
sent when the one before was read.
"""

from __future__ import annotations

import socket
import struct
import time

_SOCK_DIAG = 4  # the netlink family, sock_diag(7)
_BY_FAMILY = 20
_REQUEST = 1
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8
_CONNECTED = (1, 4, 5, 8)  # established, its sides closed in one order or the other, close-wait
_HEADER = struct.Struct("=LHHLL")
_QUEUE_AT = _HEADER.size + 4 + 48 + 4
_PAUSE_SECONDS = 0.0002
_LONGEST_SECONDS = 2.0


def wait_until_read(connection: socket.socket) -> None:
    """Wait until the process at the other end has read all that was sent, or closed.

    Both ends are on this host. Where the kernel does not tell (it is not Linux), a moment passes.
    """
    deadline = time.monotonic() + _LONGEST_SECONDS
    try:
        here, there = connection.getsockname(), connection.getpeername()
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as netlink:
            while _unread_bytes(netlink, there, here) and time.monotonic() < deadline:
                time.sleep(_PAUSE_SECONDS)
    except (AttributeError, OSError):
        time.sleep(0.002)


def unread_bytes(connection: socket.socket) -> int:
    """What was sent over a connection of this host and not read at its other end."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as netlink:
        return _unread_bytes(netlink, connection.getpeername(), connection.getsockname())


def _unread_bytes(netlink: socket.socket, end: tuple[str, int], peer: tuple[str, int]) -> int:
    """What the connection's end has received and nobody read; 0 once there is none."""
    place = struct.pack(">HH", end[1], peer[1])
    place += socket.inet_aton(end[0]).ljust(16, b"\0") + socket.inet_aton(peer[0]).ljust(16, b"\0")
    place += struct.pack("=L", 0) + _NO_COOKIE
    question = struct.pack("=BBBxL", socket.AF_INET, socket.IPPROTO_TCP, 0, _ANY_STATE) + place
    header = _HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 1, 0)
    netlink.send(header + question)
    answer = netlink.recv(4096)
    if _HEADER.unpack_from(answer)[1] != _BY_FAMILY or answer[_HEADER.size + 1] not in _CONNECTED:
        return 0
    unread: int = struct.unpack_from("=L", answer, _QUEUE_AT)[0]
    return unread
