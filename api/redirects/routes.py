"""`/{slug}`, and the few other addresses that every host is asked for."""

from __future__ import annotations

import logging

from flask import Blueprint, Response, g, request

from api.clicks.recorder import ClickRecorder
from api.clicks.records import ORPHAN_ROOT
from api.core.answers import json_response
from api.core.errors import DomainError
from api.core.registry import service
from api.core.requests import request_address
from api.core.slugs import normalise_slug
from api.domains.hosts import normalise_host
from api.domains.service import DomainService
from api.redirects.cache import Target
from api.redirects.orphans import OrphanVisits
from api.redirects.pages import NO_STORE, error_answer, page, wants_html
from api.redirects.prepared import PreparedAnswers
from api.redirects.service import LinkBlocked, LinkGone, LinkUnknown, RedirectService
from api.redirects.speculation import PURPOSES, is_speculative
from config.settings import Settings

log = logging.getLogger(__name__)

blueprint = Blueprint("redirects", __name__, template_folder="templates")

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#0b6e4f"'
    ' stroke-width="2" stroke-linejoin="round" stroke-linecap="round">'
    '<path d="M12 2v20M5 4h11l3 3-3 3H5zM19 12H8l-3 2.5L8 17h11z"/></svg>'
)
_ROBOTS = "User-agent: *\nDisallow: /api/\n"


@blueprint.get("/<slug:slug>")
def follow(slug: str) -> Response:
    """Follow a short link"""
    return _visit(slug, None)


@blueprint.post("/<slug:slug>")
def follow_with_password(slug: str) -> Response:
    """Follow a short link that needs a password"""
    return _visit(slug, request.form.get("password", ""))


@blueprint.get("/")
def home() -> Response:
    """Say what lives here"""
    docs = "/docs" if "api" in service(Settings).signpost_services else None
    if wants_html():
        response = page("redirects/home.html", "Signpost", docs=docs)
    else:
        response = json_response({"name": "Signpost"} | ({"documentation": docs} if docs else {}))
    response.headers["Vary"] = "Accept"
    service(OrphanVisits).add(ORPHAN_ROOT, request.host)
    return response


@blueprint.get("/robots.txt")
def robots() -> Response:
    """Tell crawlers that links may be followed"""
    return _fixed(_ROBOTS, "text/plain; charset=utf-8")


@blueprint.get("/favicon.ico")
def favicon() -> Response:
    """The signpost"""
    return _fixed(_ICON, "image/svg+xml")


def _visit(slug: str, password: str | None) -> Response:
    try:
        return _redirect(slug, password)
    except (LinkUnknown, LinkGone) as error:
        service(OrphanVisits).add(error.orphan_kind, request.host, error.workspace_id)
        return _miss(error)
    except LinkBlocked as error:
        service(OrphanVisits).add(error.orphan_kind, request.host, error.workspace_id)
        response = error_answer(error)
        if error.status == 451:
            # Who refuses (RFC 7725 section 4).
            response.headers["Link"] = f'<{service(Settings).public_url}/>; rel="blocked-by"'
        return response
    except DomainError as error:
        return error_answer(error)


def _miss(error: LinkUnknown | LinkGone) -> Response:
    if isinstance(error, LinkUnknown):
        try:
            service(RedirectService).note_miss(request_address())
        except DomainError as refused:
            return error_answer(refused)
    return error_answer(error)


def _redirect(slug: str, password: str | None) -> Response:
    settings = service(Settings)
    domains = service(DomainService)
    redirects = service(RedirectService)
    domain = domains.domain_of_request(request.host, strict=settings.strict_hosts)
    if domain is None:
        raise LinkUnknown
    owner = None if domain == domains.default_domain else domains.owner_of(domain)
    slug = normalise_slug(slug)
    target = redirects.open(domain, slug, owner, _note_level)
    g.workspace_id = target.workspace_id
    address = request_address()
    redirects.check_password(target, password, address)
    query = request.query_string.decode("utf-8", "replace")
    location = redirects.pass_through(target, query)
    _record(target, address, query)
    # 303 after a form: 307 and 308 would send the password on to the target.
    status = 303 if request.method == "POST" else target.redirect_status
    response = Response(status=status)
    del response.headers["Content-Type"]
    response.headers["Location"] = location
    # Also for 301 and 308: a redirect that a browser keeps would be followed without a click.
    response.headers["Cache-Control"] = NO_STORE
    response.autocorrect_location_header = False
    if normalise_host(request.host) == domain:
        spelling = f"{request.host}/{slug}".encode()
        service(PreparedAnswers).put(spelling, f"{domain}/{slug}")
    return response


def _note_level(level: str, age_seconds: float | None) -> None:
    """Keep where the link was found, for the request's line and for what is counted."""
    g.cache_level = level
    g.target_age = age_seconds


def _record(target: Target, address: str, query: str) -> None:
    headers = request.headers
    purposes = " ".join(headers.get(name, "") for name in PURPOSES)
    try:
        service(ClickRecorder).record(
            target.id,
            target.workspace_id,
            address=address,
            user_agent=headers.get("User-Agent", ""),
            referrer=headers.get("Referer", ""),
            language=headers.get("Accept-Language", ""),
            query=query,
            head=request.method == "HEAD",
            prefetch=is_speculative(purposes),
        )
    except OSError as error:
        # The visitor goes on: the spool has counted the loss, fails readiness and tells of it.
        log.debug("a click of link %s could not be recorded: %s", target.id, error)


def _fixed(body: str, content_type: str) -> Response:
    response = Response(body, content_type=content_type)
    response.headers["Cache-Control"] = "public, max-age=86400"
    return response
