"""Connections for statements that are transactions of their own.

They are apart from those of sessions: a report that runs for seconds holds up no short question,
and they need not be told at each use how they are used now.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from gevent.monkey import get_original

from api.core.database.failures import away, busy
from api.core.database.pools import PoolState
from api.core.dependencies import Dependency

# An idle connection may be forgotten by a firewall, of which nobody is told.
_SURE_SECONDS = 30.0


class Held:
    """An open connection, and since when nobody used it."""

    __slots__ = ("_poll", "_returned", "driver")

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.note_return()
        # The system's own: gevent's would start a watcher for a question that never waits.
        self._poll = get_original("select", "poll")()
        self._poll.register(driver.fileno(), select.POLLIN)

    def note_return(self) -> None:
        """Nobody uses it from now on."""
        self._returned = time.monotonic()

    def is_usable(self) -> bool:
        """Whether the server still answers.

        A ping before each use would cost a round trip. What a server says to an idle connection,
        that it ends above all, can be read: only then it is asked.
        """
        if time.monotonic() - self._returned < _SURE_SECONDS and not self._poll.poll(0):
            return True
        try:
            with self.driver.cursor() as cursor:
                cursor.execute("SELECT 1")
            self.driver.rollback()
        except psycopg2.Error:
            return False
        return True


class Connections:
    """At most `size` connections; the one that was used last is used next."""

    def __init__(
        self,
        connect: Callable[[], Any],
        database: Dependency,
        *,
        size: int,
        timeout_seconds: float,
    ) -> None:
        self.database = database
        self._connect = connect
        self._size = size
        self._timeout_seconds = timeout_seconds
        self._changed = threading.Condition(threading.Lock())
        self._idle: list[Held] = []
        self._open = 0
        self._waiting = 0
        self._exhausted = 0

    def take(self) -> Held:
        """A connection that is nobody else's until it is given back.

        Raises:
            Unavailable: all are in use for too long, or the server is away.
        """
        while True:
            held = self._wait_for_one()
            if held is None:
                return self._open_one()
            try:
                if held.is_usable():
                    return held
            except BaseException:
                # Whoever is killed while it asks leaves a place for others.
                self.give(held, usable=False)
                raise
            # The others were made before the same restart.
            self.give(held, usable=False)
            self.drop_idle()

    def give(self, held: Held, *, usable: bool) -> None:
        """Let others use it, or nobody."""
        held.note_return()
        with self._changed:
            if usable:
                self._idle.append(held)
            else:
                self._open -= 1
            self._changed.notify()
        if not usable:
            held.driver.close()

    def drop_idle(self, *, close: bool = True) -> None:
        """Drop the connections that nobody uses; `close=False` after a fork, where the parent owns
        them."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._open -= len(idle)
            self._changed.notify_all()
        if close:
            for held in idle:
                held.driver.close()

    def state(self) -> PoolState:
        """How they are used now."""
        with self._changed:
            return PoolState(
                size=self._size,
                max_overflow=0,
                checked_out=self._open - len(self._idle),
                idle=len(self._idle),
                overflow=0,
                waiting=self._waiting,
                exhausted=self._exhausted,
            )

    def _wait_for_one(self) -> Held | None:
        """An idle connection; None, and its place, where one may be opened."""
        with self._changed:
            if self._is_exhausted():
                self._wait_while_exhausted()
            if self._idle:
                return self._idle.pop()
            self._open += 1
            return None

    def _is_exhausted(self) -> bool:
        return not self._idle and self._open >= self._size

    def _wait_while_exhausted(self) -> None:
        until = time.monotonic() + self._timeout_seconds
        self._waiting += 1
        try:
            while self._is_exhausted():
                left = until - time.monotonic()
                if left <= 0:
                    self._exhausted += 1
                    raise busy(f"all {self._size} connections are in use")
                self._changed.wait(left)
        except BaseException:
            # It may have been this one's turn in the same moment.
            self._changed.notify()
            raise
        finally:
            self._waiting -= 1

    def _open_one(self) -> Held:
        try:
            return Held(self._connect())
        except BaseException as error:
            with self._changed:
                self._open -= 1
                self._changed.notify()
            if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
                raise away(error, self.database) from error
            raise
