"""Asking a server now and then, in the background, and never waiting for it past a deadline."""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ

from api.core.database.hosts import Hosts

log = logging.getLogger(__name__)

# Who asks for one soon may do so all the time.
_LEAST_SECONDS = 0.02


class Probe:
    """One connection, made again whenever it was lost.

    It is asynchronous to libpq: neither a server that is frozen nor a host that is gone holds up
    whoever asks, with gevent or without.
    """

    def __init__(self, hosts: Hosts, seconds: float) -> None:
        """`seconds` are what a connection, and then an answer, may take."""
        self._hosts = hosts
        self._seconds = seconds
        self._driver: Any = None

    def ask(self, statement: str) -> tuple[Any, ...]:
        """The row of the answer.

        Raises:
            psycopg2.Error: there is none in time.
        """
        try:
            if self._driver is None:
                self._driver = self._hosts.connect(self._connect)
            with self._driver.cursor() as cursor:
                cursor.execute(statement)
                self._wait(self._driver)
                return tuple(cursor.fetchone())
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> tuple[str | None, int]:
        """Host and port of the server that answered last."""
        info = self._driver.info
        return info.host, info.port

    def close(self) -> None:
        """Let go of the connection."""
        driver, self._driver = self._driver, None
        if driver is not None:
            with contextlib.suppress(psycopg2.Error):
                driver.close()

    def _connect(self, **parameters: Any) -> Any:
        driver = psycopg2.connect(**parameters, async_=1)
        try:
            self._wait(driver)
        except BaseException:
            driver.close()
            raise
        return driver

    def _wait(self, driver: Any) -> None:
        until = time.monotonic() + self._seconds
        while (state := driver.poll()) != POLL_OK:
            poll = select.poll()
            poll.register(driver.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
            if not poll.poll(max(until - time.monotonic(), 0) * 1000):
                raise psycopg2.OperationalError("no answer in time")


class Repeated:
    """Does something in the background: now and then, and soon when somebody asks for it."""

    def __init__(self, name: str, work: Callable[[], None], seconds: float) -> None:
        self._name = name
        self._work = work
        self._seconds = seconds
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; it is done at once for the first time."""
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def soon(self) -> None:
        """Do it before its time."""
        self._wanted.set()

    def stop(self, seconds: float) -> None:
        """Do it no more, and wait so long for what is being done."""
        self._stopped.set()
        self._wanted.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._work()
            except Exception:
                log.exception("%s failed, and goes on", self._name)
            self._stopped.wait(_LEAST_SECONDS)
            self._wanted.wait(self._seconds)
            self._wanted.clear()
