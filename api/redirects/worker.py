"""The gunicorn worker of the redirect path: it answers what is prepared before anything is parsed.

Where gunicorn begins to read a request of a connection, and holds no byte of it yet, the bytes are
read here first. Those that `FastPath` answers are answered; the first others are given to
gunicorn's parser as they came, and so is everything that belongs to them.
"""

from __future__ import annotations

import ssl
import time
from typing import Any

import gevent
import gunicorn.http
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

from api.core.worker import Wait, Worker
from api.redirects.fast import MAX_REQUEST_BYTES, FastPath
from api.redirects.turn import Turn

_READ_BYTES = MAX_REQUEST_BYTES + 192


class RedirectWorker(Worker):
    """Serves connections with the fast path, where the application has one."""

    fast: FastPath | None = None

    def init_process(self) -> None:
        """Begin in the process that serves."""
        # The one place where gunicorn chooses a parser; only in this process.
        self._get_parser = gunicorn.http.get_parser
        gunicorn.http.get_parser = self._parser
        super().init_process()

    def use(self, fast: FastPath) -> None:
        """Answer by this from now on."""
        self._turn = Turn(fast.spool.record_lines, fast.note_turn)
        self.fast = fast

    def _parser(self, cfg: Any, source: Any, source_addr: Any, *rest: Any, **more: Any) -> Any:
        plain = type(source_addr) is tuple and not isinstance(source, ssl.SSLSocket)
        # Without keep-alive gunicorn waits for nothing, and each answer says that it is the last.
        if self.fast is None or not cfg.keepalive or not plain or rest or more:
            return self._get_parser(cfg, source, source_addr, *rest, **more)
        return _Parser(cfg, source, source_addr, self)

    def serve_fast(self, client: Any, peer: str) -> bytes:
        """Answer requests of a connection as long as that is possible; the bytes of the first
        that is not answered, or nothing at the connection's end."""
        waiting: Wait = self.waiting[gevent.getcurrent()]
        fast, turn = self.fast, self._turn
        assert fast is not None  # noqa: S101 - _parser looked
        # gevent's own `recv` would try at first, mostly in vain; a try costs as much as a read.
        wait, readable, receive = client._wait, client._read_event, client._sock.recv
        while True:
            # Always through the loop: others have their turn, and what was answered is sent.
            wait(readable)
            try:
                data: bytes = receive(_READ_BYTES)
            except BlockingIOError:
                continue
            turn.settle(client)
            if not data or not self.alive:
                return data
            answered = fast.answer(data, peer)
            if answered is None:
                return data
            turn.add(client, *answered)
            # Not counted for max_requests, which at this pace would be over in seconds.
            waiting.since = time.monotonic()


class _Parser(RequestParser):  # type: ignore[misc]
    """gunicorn's parser, behind the fast path."""

    def __init__(self, cfg: Any, source: Any, source_addr: Any, worker: RedirectWorker) -> None:
        super().__init__(cfg, source, source_addr)
        self._client = source
        self._worker = worker

    def mesg_class(
        self, cfg: Any, unreader: Any, source_addr: tuple[Any, ...], req_count: int
    ) -> Request:
        """The next request. Any body before it has been read to its end."""
        # Bytes that are here already came with the request before: they are the parser's.
        if unreader.buf.tell() == 0 and not unreader.buf.getvalue():
            data = self._worker.serve_fast(self._client, str(source_addr[0]))
            if data:
                unreader.unread(data)
        return Request(cfg, unreader, source_addr, req_count)
