"""Let other greenlets run while psycopg2 waits for PostgreSQL.

libpq waits in C, out of reach of gevent's patches; psycopg2 offers a callback for such loops
(psycopg2 documentation, "Support for coroutine libraries"). Ours differs from psycogreen's in that
it keeps the connect deadline, and cancels the query when its greenlet is killed or timed out, so
that no statement goes on without anybody waiting for it.
"""

from __future__ import annotations

import contextlib
import struct
import time
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import gevent
import psycopg2
from gevent import socket as gsocket
from gevent.hub import get_hub
from gevent.socket import wait_read, wait_write
from psycopg2 import extensions

_STATUS_SETUP = 0  # the connection has not finished connecting
_DEFAULT_CONNECT_SECONDS = 10
_KNOCK_SECONDS = 1.0
# Length and code of SSLRequest (PostgreSQL, "Message Formats"); the answer is one letter.
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
# libev's READ.
_READ = 1


def install(statement_seconds: float | None = None) -> None:
    """Make every psycopg2 connection of this process cooperative. COPY is then refused.

    The server ends a statement that takes too long, but one that is frozen or out of reach ends
    none: after `statement_seconds` its silence is an error here.
    """
    extensions.set_wait_callback(partial(_wait, statement_seconds))


def _wait(statement_seconds: float | None, connection: Any) -> None:
    try:
        if connection.status == _STATUS_SETUP:
            _connect(connection)
        else:
            _answer(connection, statement_seconds)
    except psycopg2.Error:
        raise
    except BaseException:
        # A greenlet that is killed leaves here too: its statement must not go on alone.
        _abandon(connection)
        raise


def _connect(connection: Any) -> None:
    deadline = time.monotonic() + _connect_seconds(connection)
    while (state := connection.poll()) != extensions.POLL_OK:
        wait = wait_read if state == extensions.POLL_READ else wait_write
        seconds = max(deadline - time.monotonic(), 0.001)
        wait(connection.fileno(), timeout=seconds, timeout_exc=_too_slow("connecting to"))


def _answer(connection: Any, seconds: float | None) -> None:
    state = connection.poll()
    if state == extensions.POLL_OK:
        return
    late = gevent.Timeout.start_new(seconds)
    try:
        while state != extensions.POLL_OK:
            if state == extensions.POLL_READ:
                get_hub().wait(_watchers.of(connection))
            else:
                wait_write(connection.fileno())
            state = connection.poll()
    except gevent.Timeout as error:
        if error is not late:
            raise
        # Not cancelled: a server that is frozen would not take that either.
        raise _too_slow("waiting for") from None
    finally:
        late.close()


class _Watchers:
    """The event loop's watcher of each connection: to make one costs more than the wait."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, tuple[Any, Any]] = WeakKeyDictionary()

    def of(self, connection: Any) -> Any:
        """The watcher for what the server says to `connection`, in this thread's loop."""
        loop = get_hub().loop
        known = self._known.get(connection)
        if known is None or known[0] is not loop:
            known = self._known[connection] = (loop, loop.io(connection.fileno(), _READ))
        return known[1]


_watchers = _Watchers()


def _connect_seconds(connection: Any) -> int:
    seconds = int(connection.info.dsn_parameters.get("connect_timeout", 0) or 0)
    return seconds or _DEFAULT_CONNECT_SECONDS


def _too_slow(doing: str) -> psycopg2.OperationalError:
    return psycopg2.OperationalError(f"timed out while {doing} the server")


def _abandon(connection: Any) -> None:
    """Cancel the statement; psycopg2 itself closes the connection when the callback raises."""
    if connection.status != _STATUS_SETUP and _would_take_it(connection):
        with contextlib.suppress(psycopg2.Error):
            connection.cancel()


def _would_take_it(connection: Any) -> bool:
    """Whether the server answers who knocks.

    libpq waits in C until it has taken a cancellation, and a server that is frozen never does: no
    other greenlet would run any more. So it is asked before whether it speaks TLS, which any
    answers at once.
    """
    host, port = connection.info.host, connection.info.port
    try:
        with gevent.Timeout(_KNOCK_SECONDS, OSError("no answer in time")), _knock(host, port) as at:
            at.sendall(_SSL_REQUEST)
            return bool(at.recv(1))
    except OSError:
        return False


def _knock(host: str, port: int) -> gsocket.socket:
    if not host.startswith("/"):
        return gsocket.create_connection((host, port))
    at = gsocket.socket(gsocket.AF_UNIX)
    try:
        at.connect(f"{host}/.s.PGSQL.{port}")
    except BaseException:
        at.close()
        raise
    return at
