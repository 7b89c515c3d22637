"""The gunicorn worker: gevent's, fair between connections and quick to stop."""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import gevent
from gevent.server import StreamServer
from gunicorn.workers import ggevent

from api.core.load_reporter import LoadReporter
from api.core.sending import JoinedSocket

log = logging.getLogger(__name__)

# Agreeing on TLS takes two round trips; who takes longer keeps a place from others.
_HANDSHAKE_SECONDS = 10.0
# An idle client may be sending its next request just now, and nothing tells it in time not to: a
# request that meets a closed connection is lost where it must not be sent twice. So a worker that
# stops waits for longer than the gateway keeps an idle connection (a second, see
# api/operations/gateway/configuration.py).
LAST_REQUEST_SECONDS = 2.0
_REAP_SECONDS = 1.0


class Worker(ggevent.GeventWorker):  # type: ignore[misc]
    """Ends the wait of kept connections after the keep-alive time, and when it stops, rather than
    wait for their clients."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: dict[Any, Wait] = {}
        self.connections = 0
        self.before_stop: Callable[[], None] = lambda: None
        self._acceptors: list[Acceptor] = []
        self._load: LoadReporter | None = None

    def timeout_ctx(self) -> Wait:
        """Around the wait for a connection's next request."""
        return Wait(self)

    def run(self) -> None:
        """Serve until told to stop."""
        gevent.spawn(self._release_when_stopping)
        gevent.spawn(self._reap)
        # The one place where gunicorn makes what accepts; only in this process.
        ggevent.StreamServer = self._make_acceptor
        super().run()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: finish. Not here, as this may be in the middle of anything."""
        del sig, frame
        gevent.spawn(self._take_leave)

    def report_load(self, folder: Path) -> None:
        """Tell from now on, in a file of this folder, how busy this process is."""
        try:
            self._load = LoadReporter(folder, self.cfg.worker_connections, self._count)
        except OSError as error:
            log.warning("the load of this worker cannot be told: %s", error)

    def end_report(self) -> None:
        """Tell nothing any more: the process is about to end."""
        if self._load is not None:
            self._load.stop()
            self._load = None

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection, which agrees on TLS first where that is spoken."""
        self.connections += 1
        try:
            if not isinstance(client, ssl.SSLSocket) or _shake_hands(client):
                super().handle(listener, client, addr)
        finally:
            self.connections -= 1

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """Answer one request, with its headers and its body sent together."""
        joined = JoinedSocket(sock)
        try:
            return super().handle_request(listener_name, req, joined, addr)
        finally:
            joined.flush()

    def _count(self) -> tuple[int, int]:
        """Connections, and those that do not wait for a request."""
        return self.connections, max(self.connections - len(self.waiting), 0)

    def _reap(self) -> None:
        # One look at all connections each second costs less than a timer for each request.
        while True:
            gevent.sleep(_REAP_SECONDS)
            latest = time.monotonic() - self.cfg.keepalive
            for wait in list(self.waiting.values()):
                if wait.since < latest:
                    wait.release()

    def _make_acceptor(self, listener: Any, **kwargs: Any) -> Acceptor:
        # Asked for its name by each connection, also by those that begin when it is closed.
        kwargs["handle"] = partial(self.handle, _Listener(listener.getsockname()))
        acceptor = Acceptor(listener, **kwargs)
        self._acceptors.append(acceptor)
        return acceptor

    def _take_leave(self) -> None:
        # First no new connections, and only then are those that there are told that each answer is
        # the last: otherwise every client would open a new one, to us, at the very end.
        for acceptor in self._acceptors:
            acceptor.close()
        self.alive = False

    def _release_when_stopping(self) -> None:
        while self.alive:
            gevent.sleep(0.1)
        # Answers that would go on for ever; gunicorn waits for all answers.
        self.before_stop()
        gevent.sleep(LAST_REQUEST_SECONDS)
        while True:
            for wait in list(self.waiting.values()):
                wait.release()
            gevent.sleep(0.1)


class _Listener(NamedTuple):
    """What a connection has to know of the socket that it came in by."""

    name: Any

    def getsockname(self) -> Any:
        return self.name


class Acceptor(StreamServer):  # type: ignore[misc]
    """Takes, before it ends, the connections that the kernel has accepted for us: where no other
    process listens they would be reset, some with a request sent."""

    handle: Callable[..., None]

    def close(self) -> None:
        """Take what waits, and listen no more."""
        if self.closed:
            return
        with contextlib.suppress(OSError):
            while not self.full() and (accepted := self.do_read()):
                self.do_handle(*accepted)
        # gevent forgets it here, and over TLS asks for it only when a connection's turn comes.
        handle = self.handle
        super().close()
        self.handle = handle


def _shake_hands(client: ssl.SSLSocket) -> bool:
    """Whether the client and we agree on TLS. Scanners, and clients that speak plain http, do not:
    that is no fault of ours to be logged."""
    try:
        with gevent.Timeout(_HANDSHAKE_SECONDS, TimeoutError("no handshake")):
            client.do_handshake()
    except OSError as error:
        log.debug("a client did not agree on TLS: %s", error)
        return False
    return True


class _Over(BaseException):
    """Ends a wait."""


class Wait:
    """A wait for the next request, which ends with nothing when it is released."""

    __slots__ = ("_greenlet", "_over", "_release", "_worker", "since")

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._release: Any = None

    def __enter__(self) -> Self:
        # gunicorn never yields while the next request is readable already: without this, one
        # busy connection holds up all others (400 ms at 32 connections).
        gevent.sleep(0)
        self._greenlet = gevent.getcurrent()
        self._over = _Over()
        self.since = time.monotonic()
        self._worker.waiting[self._greenlet] = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._worker.waiting.pop(self._greenlet, None)
        if self._release is not None:
            self._release.stop()  # a request came in the same moment: serve it
        return error is self._over

    def release(self) -> None:
        """End the wait now, as if its time were over."""
        self._worker.waiting.pop(self._greenlet, None)
        self._release = gevent.get_hub().loop.run_callback(self._greenlet.throw, self._over)
