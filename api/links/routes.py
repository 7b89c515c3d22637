"""`/links`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from flask import Response, request

from api.core.answers import json_response
from api.core.auditing import note_changes
from api.core.database.sessions import AnyRow
from api.core.errors import Invalid
from api.core.events import Change, Thing
from api.core.http import MERGE_PATCH, Blueprint, page_response, principal
from api.core.loading import Loader, load
from api.core.problems import problem_of
from api.core.registry import service
from api.links import batch
from api.links.drafts import LinkDraft
from api.links.plain import read_link
from api.links.qr import CONTENT_TYPES, QrStyle, draw_qr
from api.links.schemas import (
    BATCH_IN,
    BATCH_OUT,
    CREATE_QUERY,
    LINK_IN,
    LINK_PAGE,
    LINK_PATCH,
    LINK_QUERY,
    OPERATION_IN,
    QR_QUERY,
    LinkOut,
    Presenter,
)
from api.links.service import LinkFilter, LinkService, etag_of

blueprint = Blueprint("links", __name__, description="Short links")

# What a batch holds.
_OPERATION, _PATCH = Loader(OPERATION_IN), Loader(LINK_PATCH)
_CREATION = {"op", "link"}


def _links() -> LinkService:
    return service(LinkService)


def _present(row: AnyRow) -> dict[str, Any]:
    return service(Presenter).link(row)


@blueprint.route("/links", methods=["POST"])
@blueprint.scope("links:write")
@blueprint.idempotent
@blueprint.takes_query(CREATE_QUERY)
@blueprint.takes_body(LINK_IN)
@blueprint.audited("link.create", status=201)
@blueprint.answers(201, LinkOut, headers=("Location", "ETag"))
@blueprint.answers(
    200, LinkOut, headers=("Location", "ETag"), description="An existing link was found"
)
@blueprint.fails(409)
def create_link(query: dict[str, Any], body: dict[str, Any]) -> Response:
    """Create a link"""
    row, created = _links().create_link(
        principal().workspace_id,
        LinkDraft(**body),
        find_existing=body if query["find_existing"] else None,
    )
    return _with_etag(row, 201 if created else 200, {"Location": f"/api/v1/links/{row.id}"})


@blueprint.route("/links")
@blueprint.scope("links:read")
@blueprint.takes_query(LINK_QUERY)
@blueprint.answers(200, LINK_PAGE, headers=("Link",))
def list_links(query: dict[str, Any]) -> Response:
    """List links"""
    page = {name: query.pop(name) for name in ("limit", "cursor", "sort")}
    fields = query.pop("fields_")
    rows, cursor = _links().list_links(
        principal().workspace_id, LinkFilter(**query), fields=fields, **page
    )
    present, now = service(Presenter).link, datetime.now(UTC)
    return page_response([present(row, fields, now) for row in rows], cursor)


@blueprint.route("/links/<id:link_id>")
@blueprint.scope("links:read")
@blueprint.answers(200, LinkOut, headers=("ETag",))
@blueprint.answers(304, description="`If-None-Match` names the current version")
@blueprint.fails(404)
def get_link(link_id: int) -> Response:
    """Read a link"""
    row = _links().get_link(principal().workspace_id, link_id)
    if request.if_none_match.contains_weak(etag_of(row)):
        unchanged = Response(status=304)
        unchanged.set_etag(etag_of(row))
        return unchanged
    return _with_etag(row)


@blueprint.route("/links/<id:link_id>", methods=["PATCH"])
@blueprint.scope("links:write")
@blueprint.takes_body(LINK_PATCH, media_types=(MERGE_PATCH,))
@blueprint.audited("link.update")
@blueprint.answers(200, LinkOut, headers=("ETag",))
@blueprint.fails(404, 412)
def update_link(link_id: int, body: dict[str, Any]) -> Response:
    """Change a link (JSON Merge Patch, RFC 7396)"""
    return _with_etag(
        _links().update_link(principal().workspace_id, link_id, body, _precondition())
    )


@blueprint.route("/links/<id:link_id>", methods=["DELETE"])
@blueprint.scope("links:write")
@blueprint.audited("link.delete")
@blueprint.answers(204)
@blueprint.fails(404, 412)
def delete_link(link_id: int) -> Response:
    """Delete a link; its slug answers 410 from then on"""
    _links().delete_link(principal().workspace_id, link_id, _precondition())
    return Response(status=204)


@blueprint.route("/links/batch", methods=["POST"])
@blueprint.scope("links:write")
@blueprint.idempotent
@blueprint.takes_body(BATCH_IN)
@blueprint.audited("link.batch")
@blueprint.answers(200, BATCH_OUT)
def batch_links(body: dict[str, Any]) -> Response:
    """Create, change and delete up to 1,000 links, each with its own result"""
    operations = [_operation(index, item) for index, item in enumerate(body["operations"])]
    workspace = principal().workspace_id
    try:
        if body["atomic"]:
            results = batch.perform_together(_links(), workspace, operations)
        else:
            results = batch.perform(_links().writer, workspace, operations)
    except batch.BatchUndone as undone:
        undone.extra["results"] = _present_results(undone.results)
        raise
    note_changes(filter(None, map(_change, operations, results)))
    return json_response({"results": _present_results(results)})


@blueprint.route("/links/<id:link_id>/qr")
@blueprint.scope("links:read")
@blueprint.takes_query(QR_QUERY)
@blueprint.answers(200, content_types=tuple(CONTENT_TYPES.values()), headers=("ETag",))
@blueprint.answers(304, description="`If-None-Match` names the current image")
@blueprint.fails(404)
def get_link_qr(link_id: int, query: dict[str, Any]) -> Response:
    """Draw the QR code of a link"""
    row = _links().get_link(principal().workspace_id, link_id)
    kind = query.pop("format", None) or _preferred_image()
    text = service(Presenter).short_url(row.domain, row.slug)
    response = Response(
        draw_qr(text, QrStyle(format=kind, **query)), content_type=CONTENT_TYPES[kind]
    )
    response.headers["Cache-Control"] = "private, max-age=86400"
    response.headers["Vary"] = "Accept, Authorization"
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    )
    response.add_etag()
    response.make_conditional(request)
    return response


def _preferred_image() -> str:
    best = request.accept_mimetypes.best_match(tuple(CONTENT_TYPES.values()))
    return "png" if best == CONTENT_TYPES["png"] else "svg"


def _with_etag(
    row: AnyRow, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return json_response(_present(row), status, {**(headers or {}), "ETag": f'"{etag_of(row)}"'})


def _precondition() -> Callable[[AnyRow], bool]:
    """Whether `If-Match` lets a link be changed: by its version, the first part of the tag."""
    wanted = request.if_match
    if not wanted or wanted.star_tag:
        return lambda row: True  # noqa: ARG005
    versions = {tag.partition(".")[0] for tag in wanted.as_set()}
    return lambda row: str(row.version) in versions


def _operation(index: int, item: dict[str, Any]) -> batch.Operation:
    place = f"/operations/{index}"
    try:
        plain = item.keys() == _CREATION and item["op"] == "create" and type(item["link"]) is dict
        read = item if plain else load(_OPERATION, item)
        identifier = 0 if read["op"] == "create" else _member(read, "id")
        if read["op"] == "delete":
            return batch.Delete(identifier)
        link = _member(read, "link")
        place += "/link"
        if read["op"] == "create":
            return batch.Create(LinkDraft(**read_link(link)))
        return batch.Update(identifier, load(_PATCH, link))
    except Invalid as error:
        return batch.Unreadable(error.below(place))


def _member(operation: dict[str, Any], name: str) -> Any:
    if name not in operation:
        raise Invalid.field(f"/{name}", "Missing data for required field.")
    return operation[name]


def _change(operation: batch.Operation, result: batch.Result) -> Change | None:
    """What the audit log is told of an operation that succeeded."""
    match operation:
        case batch.Create() if result.link is not None:
            return Change("link.create", Thing("link", str(result.link.id)))
        case batch.Update(link_id) if result.error is None:
            return Change("link.update", Thing("link", str(link_id)))
        case batch.Delete(link_id) if result.error is None:
            return Change("link.delete", Thing("link", str(link_id)))
    return None


def _present_results(results: Iterable[batch.Result]) -> list[dict[str, Any]]:
    present = partial(service(Presenter).link, now=datetime.now(UTC))
    return [_present_result(index, result, present) for index, result in enumerate(results)]


def _present_result(
    index: int, result: batch.Result, present: Callable[[AnyRow], dict[str, Any]]
) -> dict[str, Any]:
    shown: dict[str, Any] = {"status": result.status}
    if result.link is not None:
        shown["link"] = present(result.link)
    error = result.error
    if isinstance(error, Invalid) and not result.unread:
        error = error.below(f"/operations/{index}/link")
    if error is not None:
        shown["problem"] = problem_of(error)
    return shown
