"""Let other greenlets run while psycopg2 waits for PostgreSQL.

libpq waits in C, out of reach of gevent's patches; psycopg2 offers a callback for such loops
(psycopg2 documentation, "Support for coroutine libraries"). Ours differs from psycogreen's in that
it keeps the connect deadline, and cancels the query when its greenlet is killed or timed out, so
that no statement goes on without anybody waiting for it.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import Any

import psycopg2
from gevent.socket import wait_read, wait_write
from psycopg2 import extensions

_STATUS_SETUP = 0  # the connection has not finished connecting
_DEFAULT_CONNECT_SECONDS = 10


def install(statement_seconds: float | None = None) -> None:
    """Make every psycopg2 connection of this process cooperative. COPY is then refused.

    The server ends a statement that takes too long, but one that is frozen or out of reach ends
    none: after `statement_seconds` its silence is an error here.
    """
    extensions.set_wait_callback(partial(_wait, statement_seconds))


def _wait(statement_seconds: float | None, connection: Any) -> None:
    deadline = _deadline(connection, statement_seconds)
    try:
        while True:
            state = connection.poll()
            if state == extensions.POLL_OK:
                return
            seconds = None if deadline is None else max(deadline - time.monotonic(), 0.001)
            wait = wait_read if state == extensions.POLL_READ else wait_write
            wait(connection.fileno(), timeout=seconds, timeout_exc=_too_slow(connection))
    except psycopg2.Error:
        raise
    except BaseException:
        # A greenlet that is killed leaves here too: its statement must not go on alone.
        _abandon(connection)
        raise


def _deadline(connection: Any, statement_seconds: float | None) -> float | None:
    if connection.status != _STATUS_SETUP:
        return None if statement_seconds is None else time.monotonic() + statement_seconds
    seconds = int(connection.info.dsn_parameters.get("connect_timeout", 0) or 0)
    return time.monotonic() + (seconds or _DEFAULT_CONNECT_SECONDS)


def _too_slow(connection: Any) -> psycopg2.OperationalError:
    doing = "connecting to" if connection.status == _STATUS_SETUP else "waiting for"
    return psycopg2.OperationalError(f"timed out while {doing} the server")


def _abandon(connection: Any) -> None:
    """Cancel the statement; psycopg2 itself closes the connection when the callback raises."""
    if connection.status != _STATUS_SETUP:
        with contextlib.suppress(psycopg2.Error):
            connection.cancel()
