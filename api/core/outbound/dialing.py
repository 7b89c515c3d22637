"""Connections to the public internet alone: a name is asked for once, and what it stood for then
is what is connected to."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from ipaddress import ip_address
from typing import Self

from api.core.addresses import Address, is_public

# Answers all addresses of a host; raises OSError.
Resolver = Callable[[str, int], Sequence[str]]
# Connects to an address and a port within so many seconds; raises OSError.
Dialer = Callable[[str, int, float], socket.socket]

# Of a host that has many addresses.
_MOST_ADDRESSES = 4


class Refused(Exception):
    """Not to be asked for, now or later."""


class Failed(Exception):
    """It did not work this time."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system finds them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def dial(address: str, port: int, seconds: float) -> socket.socket:
    """A connection to exactly this address."""
    return socket.create_connection((address, port), seconds)


class Deadline:
    """An end of all that belongs to one request, however slowly it goes on: when it has come, its
    connections are cut, and whoever waits for one is woken."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._connections: list[socket.socket] = []
        self._over = False
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    @property
    def left_seconds(self) -> float:
        """Until the end.

        Raises:
            Failed: it has come.
        """
        self.check()
        return max(self._end - time.monotonic(), 0.001)

    def check(self) -> None:
        """Nothing, before the end.

        Raises:
            Failed: it has come.
        """
        if self._over or time.monotonic() >= self._end:
            raise Failed("It takes too long.")

    def watch(self, connection: socket.socket) -> None:
        """Cut this connection at the end, too."""
        # A second name for it: TLS takes the first one over.
        twin = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._connections.append(twin)
            if self._over:
                _shut(twin)

    def _cut(self) -> None:
        with self._lock:
            self._over = True
            for connection in self._connections:
                _shut(connection)


class Dialing:
    """Finds and reaches hosts of the public internet."""

    def __init__(
        self,
        *,
        connect_seconds: float,
        resolver: Resolver = resolve,
        dialer: Dialer = dial,
        threads: int = 8,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._resolver = resolver
        self._dialer = dialer
        # The system's resolver knows no deadline; who waits for it in vain goes on without it.
        self._lookups = ThreadPoolExecutor(threads, thread_name_prefix="lookups")

    def find(self, host: str, port: int, deadline: Deadline) -> list[Address]:
        """The addresses of `host`, all of them public.

        Raises:
            Refused: one of them is not: who gives both means no good.
            Failed: the host is not found, or not in time.
        """
        asked: Future[Sequence[str]] = self._lookups.submit(self._resolver, host, port)
        try:
            found = asked.result(min(self._connect_seconds, deadline.left_seconds))
        except (OSError, UnicodeError, TimeoutError) as error:
            asked.cancel()
            raise Failed(f"The host is not found: {_reason(error)}.") from None
        try:
            addresses = [ip_address(address.partition("%")[0]) for address in found]
        except ValueError:
            raise Failed("The host has no address.") from None
        if not addresses:
            raise Failed("The host has no address.")
        if not all(map(is_public, addresses)):
            raise Refused("The host is not of the public internet.")
        return addresses[:_MOST_ADDRESSES]

    def connect(self, addresses: Sequence[Address], port: int, deadline: Deadline) -> socket.socket:
        """A connection to the first of `addresses` that answers; no name is asked for again.

        Raises:
            Failed: none does.
        """
        reason = ""
        for address in addresses:
            try:
                connection = self._dialer(
                    str(address), port, min(self._connect_seconds, deadline.left_seconds)
                )
            except OSError as error:
                reason = _reason(error)
                continue
            deadline.watch(connection)
            return connection
        raise Failed(f"No connection: {reason}.")


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended already


def _reason(error: BaseException) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
