"""The span of a request, around the whole application and until its answer has been sent.

Attributes are those of OpenTelemetry's semantic conventions for HTTP servers. Left out is what may
be a secret or tells of a person: the query, the client's address, all headers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from flask import g

from api.core.tracing.context import read_traceparent
from api.core.tracing.spans import SERVER, Span, set_running
from api.core.tracing.tracer import Tracer

_METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
)
# What is known of a request that its log line tells, too.
_FACTS = ("request_id", "cache_level")
# Set where it is decided, before the request is parsed, whether it begins a sampled trace.
chosen: ContextVar[bool | None] = ContextVar("chosen", default=None)

Start = Callable[..., Any]


class TracedApplication:
    """A WSGI application (PEP 3333) whose requests are traced."""

    def __init__(self, application: Callable[..., Iterable[bytes]], tracer: Tracer) -> None:
        self._application = application
        self._tracer = tracer

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        """Answer a request."""
        span = self._begin(environ)
        # Until the end of the answer, which the server asks for in the same greenlet.
        set_running(span)

        def start(status: str, headers: Any, *more: Any) -> Any:
            _note_answer(span, environ, int(status[:3]))
            return start_response(status, headers, *more)

        try:
            body = self._application(environ, start)
        except BaseException as error:
            span.fail(error)
            self._end(span)
            raise
        return _Body(body, span, self._end)

    def _begin(self, environ: dict[str, Any]) -> Span:
        choice = chosen.get()
        if choice is not None:
            chosen.set(None)
        method = environ["REQUEST_METHOD"]
        name, told = (method, method) if method in _METHODS else ("HTTP", "_OTHER")
        parent = read_traceparent(environ.get("HTTP_TRACEPARENT"))
        if parent is not None:
            asks = self._tracer.sampler.takes(parent, parent.trace_id)
            choice = None if asks and self._tracer.callers.takes() else False
        attributes = {"http.request.method": told}
        return self._tracer.begin(name, SERVER, attributes, parent, chosen=choice)

    def _end(self, span: Span) -> None:
        set_running(None)
        self._tracer.end(span)


class _Body:
    """An answer that ends its span when it ends."""

    def __init__(self, body: Iterable[bytes], span: Span, end: Callable[[Span], None]) -> None:
        self._body = body
        self._chunks = iter(body)
        self._span = span
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except BaseException as error:
            self._span.fail(error)
            raise

    def close(self) -> None:
        """What a server calls when it has sent the answer, or cannot (PEP 3333)."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            if not self._span.ended_ns:
                self._end(self._span)


def _note_answer(span: Span, environ: dict[str, Any], status: int) -> None:
    attributes = span.attributes
    attributes["http.response.status_code"] = status
    # As a trusted proxy tells it, which is known by now.
    attributes["url.scheme"] = environ["wsgi.url_scheme"]
    if status >= 500:
        span.fail(str(status))
    # Flask's request, as long as it lasts; of what Flask cannot read there is none.
    asked = environ.get("werkzeug.request")
    if asked is None:
        return
    facts = g._get_current_object()
    for name in _FACTS:
        if (value := facts.get(name)) is not None:
            attributes[f"signpost.{name}"] = value
    rule = asked.url_rule
    if rule is not None:
        attributes["http.route"] = rule.rule
        # Of a path that nobody knows, nobody knows either whether it may be told.
        attributes["url.path"] = _path(environ)
        span.name = f"{span.name} {rule.rule}"


def _path(environ: dict[str, Any]) -> str:
    path: str = environ.get("PATH_INFO", "")
    # WSGI gives bytes as Latin-1.
    return path.encode("latin-1", "replace").decode("utf-8", "replace")
