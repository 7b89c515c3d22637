"""A relay before a server that cuts connections after so many bytes of the client's."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

_CHUNK = 1 << 14


class CuttingRelay:
    """Passes connections on to a port; the first ones only until they have sent so much."""

    def __init__(self, port: int, budgets: Sequence[int]) -> None:
        self._upstream = port
        self._budgets = list(budgets)
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def spend(self) -> None:
        """Cut nothing any more."""
        self._budgets.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._relay, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._upstream)) as server:
            back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            back.start()
            left: int | None = None
            while data := _received(client):
                # A connection that only asks is none of those that are to be cut.
                if left is None and b"POST " in data:
                    left = self._budgets.pop(0) if self._budgets else 1 << 40
                if left is not None:
                    left -= len(data)
                    if left < 0:
                        self.cuts += 1
                        break
                with contextlib.suppress(OSError):
                    server.sendall(data)
            for connection in (client, server):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            back.join(10)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := _received(source):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(_CHUNK)
    except OSError:
        return b""


@contextlib.contextmanager
def cutting(port: int, *budgets: int) -> Iterator[CuttingRelay]:
    """A relay that cuts the first requests with a body after so many bytes each."""
    relay = CuttingRelay(port, budgets)
    try:
        yield relay
    finally:
        relay.close()
