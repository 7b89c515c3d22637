"""How an API route reads its request, says who may call it, and shapes its answer.

flask-smorest gathers the description (OpenAPI); reading, checking and answering are done here, as
its own ways drop headers and give other status codes than the contract promises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlencode as url_encode

import flask_smorest
import marshmallow as ma
from flask import Response, current_app, g, request

from api.core.answers import JSON, json_response
from api.core.auditing import record_request, told_of
from api.core.errors import (
    DomainError,
    Forbidden,
    Invalid,
    Unauthenticated,
    Unavailable,
    UserNeeded,
)
from api.core.idempotency import Answer, IdempotencyKeys
from api.core.loading import Loader, load, parameter_errors
from api.core.principal import Authenticator, Limiter, Principal
from api.core.reading import read_json, read_query
from api.core.registry import service

View = TypeVar("View", bound=Callable[..., Any])

MERGE_PATCH = "application/merge-patch+json"

_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")
# A query that may be repeated in a header as it came; a cursor may anyway.
_PLAIN_QUERY = re.compile(r"[A-Za-z0-9_.~=&%:+,-]*")
# The headers of an answer that are kept for its repetition.
_KEPT = ("Location", "ETag")
_READING = frozenset(("GET", "HEAD", "OPTIONS"))


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A blueprint whose routes state scope, input and answers in their decorators.

    The order on a route is: `route`, `scope` (or `user`, or `public`), `idempotent`,
    `takes_query`, `takes_body`, `audited`, `describes`, `answers`, `fails`: a caller is known
    before anything that it sent is read.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.after_request(_tell_limits)

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """Serve `rule`; typed, as the library is not."""
        return cast(Callable[[View], View], super().route(rule, **options))

    def describes(self, **description: Any) -> Callable[[View], View]:
        """Add to the description of an operation."""

        def decorate(view: View) -> View:
            _take_description(view, self.doc(**description)(view))
            return view

        return decorate

    def scope(self, scope: str) -> Callable[[View], View]:
        """Let in only principals that hold `scope`; the view finds the caller in `principal()`."""

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                caller = _authenticate()
                if scope not in caller.scopes:
                    raise Forbidden(scope)
                return view(*args, **kwargs)

            guarded.required_scope = scope  # type: ignore[attr-defined]
            security = [{"bearer": [scope]}, {"apiKey": [scope]}]
            _document(guarded, {"security": security, "operationId": view.__name__})
            _document_failures(guarded, (401, 403, 429))
            return cast(View, guarded)

        return decorate

    def user(self, view: View) -> View:
        """Let in only credentials of a user, whatever their scopes: it is about the user alone."""

        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if _authenticate().user_id is None:
                raise UserNeeded
            return view(*args, **kwargs)

        guarded.required_scope = None  # type: ignore[attr-defined]
        security: list[dict[str, list[str]]] = [{"bearer": []}, {"apiKey": []}]
        _document(guarded, {"security": security, "operationId": view.__name__})
        _document_failures(guarded, (401, 403, 429))
        return cast(View, guarded)

    def public(self, view: View) -> View:
        """Let everybody in."""
        _document(view, {"security": [], "operationId": view.__name__})
        return view

    def audited(
        self, action: str, *, tell: Collection[str] = (), status: int | None = None
    ) -> Callable[[View], View]:
        """Write `action` (`thing.verb`) to the audit log when the view has answered with a 2xx, or
        with `status` alone, before its answer leaves.

        `tell` names fields of the body whose values are told: never secrets. The thing is the one
        that the path names, or the one that `Location` names.
        """

        def decorate(view: View) -> View:
            @wraps(view)
            def told(*args: Any, **kwargs: Any) -> Any:
                response = current_app.make_response(view(*args, **kwargs))
                done = response.status_code
                if done == status or (status is None and 200 <= done < 300):
                    body = kwargs.pop("body", {})
                    kwargs.pop("query", None)
                    details = told_of(body, tell, patch=request.method == "PATCH")
                    record_request(action, details, kwargs, response)
                return response

            told.audited_action = action  # type: ignore[attr-defined]
            return cast(View, told)

        return decorate

    def idempotent(self, view: View) -> View:
        """Honour `Idempotency-Key`: the same request gets the first answer again."""

        @wraps(view)
        def once(*args: Any, **kwargs: Any) -> Any:
            key = request.headers.get("Idempotency-Key")
            if key is None:
                return view(*args, **kwargs)
            if not _IDEMPOTENCY_KEY.fullmatch(key):
                error = {"header": "Idempotency-Key", "detail": "1 to 255 printable ASCII."}
                raise Invalid([error])
            asked = b"\n".join(
                (request.method.encode(), request.full_path.encode(), request.get_data(cache=True))
            )
            performed = []

            def perform() -> Answer:
                response = current_app.make_response(view(*args, **kwargs))
                performed.append(response)
                kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
                return Answer(response.status_code, kept, response.get_data())

            answer = service(IdempotencyKeys).once(principal().workspace_id, key, asked, perform)
            if performed:
                return performed[0]
            return Response(
                answer.body,
                answer.status,
                answer.headers | {"Idempotent-Replayed": "true"},
                content_type=JSON,
            )

        parameter = {
            "in": "header",
            "name": "Idempotency-Key",
            "description": "Makes a retry safe: the same key and body get the first answer again.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
        arguments = _apidoc(once).setdefault("arguments", {"parameters": [], "responses": {}})
        arguments["parameters"].append(parameter)
        _document_failures(once, (409, 422))
        return cast(View, once)

    def takes_body(
        self, schema: ma.Schema, *, media_types: tuple[str, ...] = (JSON,)
    ) -> Callable[[View], View]:
        """Pass the validated JSON body as the view's `body`."""

        loader = Loader(schema)

        def decorate(view: View) -> View:
            @wraps(view)
            def read(*args: Any, **kwargs: Any) -> Any:
                document = read_json(media_types)
                return view(*args, body=load(loader, document), **kwargs)

            doc = _apidoc(read).setdefault("arguments", {"parameters": [], "responses": {}})
            doc["parameters"].append(
                {"in": "json", "required": True, "schema": schema, "content_type": media_types[0]}
            )
            _document_failures(read, (400, 413, 415, 422))
            return cast(View, read)

        return decorate

    def takes_query(self, schema: ma.Schema) -> Callable[[View], View]:
        """Pass the validated query parameters as the view's `query`."""

        loader = Loader(schema)

        def decorate(view: View) -> View:
            @wraps(view)
            def read(*args: Any, **kwargs: Any) -> Any:
                return view(*args, query=load(loader, read_query(), parameter_errors), **kwargs)

            doc = _apidoc(read).setdefault("arguments", {"parameters": [], "responses": {}})
            doc["parameters"].append({"in": "query", "schema": schema})
            _document_failures(read, (400, 422))
            return cast(View, read)

        return decorate

    def answers(
        self,
        status: int,
        schema: ma.Schema | type[ma.Schema] | None = None,
        *,
        headers: Iterable[str] = (),
        description: str = "",
        content_types: tuple[str, ...] = (JSON,),
    ) -> Callable[[View], View]:
        """Document a good answer; the view makes it itself."""

        def decorate(view: View) -> View:
            for content_type in content_types:
                documented = self.alt_response(
                    status,
                    schema=schema if schema is not None else _binary(status, content_type),
                    description=description or None,
                    headers={name: _HEADERS[name] for name in ("X-Request-ID", *headers)},
                    content_type=content_type if status not in (204, 304) else None,
                    success=True,
                )(view)
                _take_description(view, documented)
            return view

        return decorate

    def fails(self, *statuses: int) -> Callable[[View], View]:
        """Document the problems that a view can answer, beside those its decorators add."""

        def decorate(view: View) -> View:
            _document_failures(view, statuses)
            return view

        return decorate


def principal() -> Principal:
    """The caller of this request; only in views with a scope."""
    return cast(Principal, g.principal)


def still_allowed() -> Callable[[], bool]:
    """Asks later, outside of this request, whether its credential still stands for the same."""
    authenticate: Authenticator = current_app.extensions["signpost.authenticator"]
    credential, caller = _credential(), principal()

    def ask() -> bool:
        try:
            return authenticate(credential) == caller
        except Unavailable:
            return True  # nobody can be asked: who was let in stays
        except DomainError:
            return False

    return ask


def page_response(rows: Sequence[Any], next_cursor: str | None) -> Response:
    """A page of a list, with a `Link` header to the next (RFC 8288)."""
    headers = {}
    if next_cursor is not None:
        headers["Link"] = f'<{request.path}?{_query_with(next_cursor)}>; rel="next"'
    return json_response({"data": rows, "next_cursor": next_cursor}, 200, headers)


def _query_with(cursor: str) -> str:
    given = request.query_string.decode("latin-1")
    if "cursor=" in given or not _PLAIN_QUERY.fullmatch(given):
        return url_encode(request.args.to_dict() | {"cursor": cursor})
    return f"{given}&cursor={cursor}" if given else f"cursor={cursor}"


def _authenticate() -> Principal:
    authenticate: Authenticator = current_app.extensions["signpost.authenticator"]
    caller = g.principal = authenticate(_credential())
    limit: Limiter = current_app.extensions["signpost.limiter"]
    g.limit_headers = limit(caller, request.method not in _READING)
    return caller


def _tell_limits(response: Response) -> Response:
    headers = g.get("limit_headers")
    if headers:
        response.headers.extend(headers)
    return response


def _credential() -> str:
    environ = request.environ
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return str(token.strip())
    key = environ.get("HTTP_X_API_KEY", "").strip()
    if not key:
        raise Unauthenticated("Send an API key as `Authorization: Bearer sp_live_…`.")
    return str(key)


def _apidoc(view: Callable[..., Any]) -> dict[str, Any]:
    # A decorated function shares the dictionary of the one it wraps: copy before adding.
    view._apidoc = {  # type: ignore[attr-defined]
        key: (dict(value) if isinstance(value, dict) else value)
        for key, value in getattr(view, "_apidoc", {}).items()
    }
    return cast(dict[str, Any], view._apidoc)  # type: ignore[attr-defined]


def _take_description(view: Callable[..., Any], documented: Callable[..., Any]) -> None:
    # The library wraps a view to describe it, and each wrapper would be run through by each call.
    view._apidoc = documented._apidoc  # type: ignore[attr-defined]


def _document(view: Callable[..., Any], doc: dict[str, Any]) -> None:
    _apidoc(view).setdefault("manual_doc", {}).update(doc)


def _document_failures(view: Callable[..., Any], statuses: Iterable[int]) -> None:
    responses = _apidoc(view).setdefault("response", {}).setdefault("responses", {})
    for status in statuses:
        responses.setdefault(status, []).append(f"Problem{status}")


def _binary(status: int, content_type: str) -> dict[str, Any] | None:
    if status in (204, 304):
        return None
    return {"type": "string", "contentMediaType": content_type}


_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {"description": "Names this request in logs.", "schema": {"type": "string"}},
    "Location": {"description": "Address of the new resource.", "schema": {"type": "string"}},
    "ETag": {"description": "Version of the resource.", "schema": {"type": "string"}},
    "Cache-Control": {
        "description": "For how long the answer may be shown again.",
        "schema": {"type": "string"},
    },
    "Link": {"description": "`rel=next`: the next page (RFC 8288).", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "`true` on an answer that was given before.",
        "schema": {"type": "string"},
    },
}
