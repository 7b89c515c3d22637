"""`METRICS_PORT`: the metrics of this host, apart from what visitors reach.

All processes of a host could serve the same, as they tell what they count in one folder. The first
that finds the port free does; when it ends, another takes it.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from werkzeug.datastructures import Authorization

from api.operations.tokens import is_token

log = logging.getLogger(__name__)

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_AGAIN_SECONDS = 2.0
_TEXT = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]


class MetricsPort:
    """Serves while it has the port, and waits for it otherwise."""

    def __init__(self, host: str, port: int, token: str | None, write: Callable[[], bytes]) -> None:
        """`write` makes the metrics."""
        self._address = (host, port)
        self._token = token
        self._write = write
        self._server: WSGIServer | None = None

    def start(self) -> None:
        """Begin to try for the port."""
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="metrics-port", daemon=True).start()

    def stop(self) -> None:
        """Leave the port to others."""
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()

    def _run(self) -> None:
        host, port = self._address
        while not self._stopped.is_set():
            try:
                server_class = _Server6 if ":" in host else _Server
                self._server = make_server(host, port, self._answer, server_class, _Quiet)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    log.error("METRICS_PORT: %s port %d cannot be used: %s", host, port, error)
                    return
                self._stopped.wait(_AGAIN_SECONDS)
                continue
            with self._server as server:
                server.serve_forever(poll_interval=0.2)
            return

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/metrics":
            start("404 Not Found", _TEXT)
            return [b"There is /metrics here.\n"]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start("405 Method Not Allowed", [*_TEXT, ("Allow", "GET, HEAD")])
            return [b"Only GET.\n"]
        if not self._lets_in(environ.get("HTTP_AUTHORIZATION", "")):
            start("401 Unauthorized", [*_TEXT, ("WWW-Authenticate", "Bearer")])
            return [b"The token of METRICS_TOKEN is needed.\n"]
        body = self._write()
        start("200 OK", [("Content-Type", MEDIA_TYPE), ("Cache-Control", "no-store")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _lets_in(self, given: str) -> bool:
        if self._token is None:
            return True
        told = Authorization.from_header(given)
        return told is not None and told.type == "bearer" and is_token(told.token, self._token)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # A port that another process has must be seen as such.
    allow_reuse_port = False


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10  # of a client that says nothing

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - so named there
        """Nothing: a scrape each few seconds."""
