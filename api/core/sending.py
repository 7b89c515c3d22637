"""Sending an answer's headers and its body together."""

from __future__ import annotations

from typing import Any

# To copy a large body costs more than a call.
_MAX_JOINED_BYTES = 65_536


class JoinedSocket:
    """A connection for one answer: its headers wait for the body that is about to follow.

    gunicorn sends them one after the other: two system calls, two packets, and often two wakings
    of the client. Only headers that announce a length wait; those of a stream go out at once.
    """

    __slots__ = ("_held", "_socket")

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._held = b""

    def sendall(self, data: bytes) -> None:
        """Send `data`, after what is held, or hold it."""
        if self._held:
            if len(data) > _MAX_JOINED_BYTES:
                self.flush()
            else:
                data, self._held = self._held + data, b""
        elif data.startswith(b"HTTP/") and b"\r\nContent-Length: " in data:
            self._held = data
            return
        sent = self._socket.send(data)
        if sent < len(data):
            self._socket.sendall(memoryview(data)[sent:])

    def flush(self) -> None:
        """Send what is held: no body followed."""
        if self._held:
            held, self._held = self._held, b""
            self._socket.sendall(held)

    def __getattr__(self, name: str) -> Any:
        # Anything else, such as sendfile, comes after what is held.
        self.flush()
        return getattr(self._socket, name)
