"""What a person sees where a program would get a problem."""

from __future__ import annotations

import secrets

from flask import Response, render_template, request

from api.core.answers import PROBLEM
from api.core.errors import DomainError, TooManyRequests
from api.core.problems import note_failure, response_of
from api.redirects.service import LinkBlocked, LinkUnknown, PasswordRequired, PasswordWrong

_TEXTS = {
    404: "Check the address: a letter may be missing or of the wrong case.",
    410: "It has expired, was used up or was removed.",
    429: "Wait a minute, then try again.",
    451: "This service does not lead to its target.",
    503: "Please try again in a moment.",
}
NO_STORE = "private, no-store"


def wants_html() -> bool:
    """Whether the visitor prefers a page, as browsers say and programs do not."""
    best = request.accept_mimetypes.best_match([PROBLEM, "application/json", "text/html"])
    return best == "text/html"


def error_answer(error: DomainError) -> Response:
    """A page for people, a problem for programs."""
    if not wants_html():
        response = response_of(error)
        response.headers["Cache-Control"] = NO_STORE
        response.headers["Vary"] = "Accept"
        return response
    note_failure(error, error.status)
    if isinstance(error, PasswordRequired):
        wrong = isinstance(error, PasswordWrong)
        text = "That password is not right." if wrong else ""
        status = error.status if wrong else 200
        response = page("redirects/password.html", error_title(error), text, status)
    else:
        text = _TEXTS.get(error.status, error.detail)
        if isinstance(error, LinkBlocked) and error.detail:
            text = f"{text} Reason: {error.detail}"
        response = page("redirects/page.html", error_title(error), text, error.status)
    response.headers.extend(error.headers)
    response.headers["Cache-Control"] = NO_STORE
    response.headers["Vary"] = "Accept"
    return response


def error_title(error: DomainError) -> str:
    """The headline of the page for an error."""
    if isinstance(error, PasswordRequired):
        return PasswordRequired.title
    if isinstance(error, LinkUnknown):
        return "No link here"
    return "Too many tries" if isinstance(error, TooManyRequests) else error.title


def page(
    template: str, title: str, text: str = "", status: int = 200, **values: object
) -> Response:
    """An HTML page that runs no script and loads nothing but the icon."""
    nonce = secrets.token_urlsafe(16)
    html = render_template(template, title=title, text=text, nonce=nonce, **values)
    response = Response(html, status, content_type="text/html; charset=utf-8")
    # No form-action: browsers hold the redirect that follows a form to it, too.
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; img-src 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
