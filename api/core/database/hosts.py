"""Connecting to a database that may be at any of several hosts.

libpq takes several hosts in one URL and goes through them until one is as `target_session_attrs`
asks. Here they are gone through one by one: libpq has a deadline for each of them only where it
waits itself, which under gevent it does not; and the one that was right last time is asked first,
so that one which does not answer delays a failover, and not every connection after it.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

import psycopg2

# Of these each host can be judged by itself; the others are preferences among several.
_JUDGED_ALONE = ("any", "read-write", "read-only", "primary", "standby")


# Who would wait for a server that has just let somebody wait in vain is refused at once.
_LONG_SECONDS = 0.5
_SILENT_SECONDS = 1.0
# What the driver is told beside the parameters of libpq, such as a class of connections; nothing,
# unless somebody watches them all.
driver_options: dict[str, Any] = {}


class Hosts:
    """The places where a database may be, as parameters of libpq."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = dict(parameters)
        self._places = _places(parameters)
        self._first = 0
        self._silent_until = 0.0
        self._made: WeakSet[Any] = WeakSet()

    def connect(self, connect: Callable[..., Any] | None = None, **more: Any) -> Any:
        """A connection that `connect`, else the driver, makes to the first host that is as wanted.

        Raises:
            psycopg2.OperationalError: none does, or none did a moment ago.
        """
        began = time.monotonic()
        if began < self._silent_until:
            raise psycopg2.OperationalError("the server did not answer a moment ago")
        errors: list[str] = []
        for offset in range(len(self._places)):
            index = (self._first + offset) % len(self._places)
            try:
                made = (connect or psycopg2.connect)(
                    **{**driver_options, **self._parameters, **more, **self._places[index]}
                )
            except psycopg2.OperationalError as error:
                errors.append(str(error).strip())
            else:
                self._first = index
                self._made.add(made)
                return made
        if (now := time.monotonic()) - began > _LONG_SECONDS:
            self._silent_until = now + _SILENT_SECONDS
        raise psycopg2.OperationalError("; ".join(errors))

    def cut(self) -> None:
        """End all connections as their server would: who waits for one that hangs waits no more."""
        for made in list(self._made):
            # Not closed: whoever uses it does that.
            with contextlib.suppress(psycopg2.InterfaceError, OSError):
                _shut(made.fileno())


def _shut(descriptor: int) -> None:
    # The system's own: gevent's would wait for others that use the same.
    with contextlib.closing(_socket.socket(fileno=os.dup(descriptor))) as connection:
        connection.shutdown(_socket.SHUT_RDWR)


def _places(parameters: Mapping[str, Any]) -> list[dict[str, str]]:
    hosts = str(parameters.get("host", "")).split(",")
    if len(hosts) == 1 or parameters.get("target_session_attrs", "any") not in _JUDGED_ALONE:
        return [{}]
    ports = str(parameters.get("port", "")).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    return [{"host": host, "port": port} for host, port in zip(hosts, ports, strict=True)]
