"""A client that sends exactly the bytes it is given, and listens to the end."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass

from tests.redirects.wire.answers import Conversation, count_answers, read_conversation
from tests.redirects.wire.kernel import wait_until_read

# A peer that the servers trust as a proxy, and one that they do not: all of 127/8 is this host.
PROXY = "127.77.0.1"
STRANGER = "127.0.0.1"
TRUSTED_PROXIES = "127.77.0.0/16"

# How long an answer is awaited before the follow-up is sent. Some messages get none by themselves.
_PATIENCE_SECONDS = 0.03
_LONGEST_SECONDS = 20.0


@dataclass(frozen=True)
class Message:
    """Bytes for one connection, in the pieces in which they are sent."""

    pieces: tuple[bytes, ...]
    peer: str = STRANGER
    # Asked when all else is answered: its answer shows that the connection is open and in step.
    follow_up: bytes = b""

    @property
    def sent(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces) + self.follow_up

    def __str__(self) -> str:
        pieces = "\n".join(f"  {piece!r}" for piece in self.pieces)
        return f"from {self.peer}:\n{pieces}\n  then {self.follow_up!r}"


def talk(port: int, message: Message) -> Conversation:
    """Send a message, then a follow-up, then the end; answers all that comes back."""
    with socket.create_connection(
        ("127.0.0.1", port), _LONGEST_SECONDS, source_address=(message.peer, 0)
    ) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener = _Listener(connection)
        try:
            for piece in message.pieces:
                connection.sendall(piece)
                wait_until_read(connection)
                listener.listen(0)
            listener.listen(_PATIENCE_SECONDS, until_answers=1)
            if message.follow_up:
                connection.sendall(message.follow_up)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the server has closed; what it said before is still to be read
        listener.listen(_LONGEST_SECONDS)
        return read_conversation(listener.received, message.sent, ended=listener.ended)


class _Listener:
    """Collects what arrives on a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.received = b""
        self.ended = False

    def listen(self, seconds: float, until_answers: int = 0) -> None:
        """Until that time is over, the server closes, or so many answers are there."""
        deadline = time.monotonic() + seconds
        while not self.ended:
            left = deadline - time.monotonic()
            if not select.select([self._connection], [], [], max(left, 0))[0]:
                return
            try:
                data = self._connection.recv(262_144)
            except OSError:
                data = b""  # closed with something of ours unread
            self.received += data
            self.ended = not data
            if until_answers and count_answers(self.received) >= until_answers:
                return
