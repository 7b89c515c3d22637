"""Pages for people: their cookies, their forms and what surrounds them."""

from __future__ import annotations

import re
import secrets
from typing import Any
from urllib.parse import urlsplit

from flask import Request, Response, g, redirect, render_template

from api.core.cookies import Cookie
from api.core.errors import BadRequest
from api.core.registry import service
from api.oauth.lives import SESSION_SECONDS
from api.oauth.sessions import Sessions
from config.settings import Settings

# Where a page of ours may send on to: pages of ours.
_NEXT = re.compile(r"/oauth/(authorize|device|sign-in)(\?[!-\[\]-~]*)?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*:(//[A-Za-z0-9.\[\]:-]+)?")
_DAY_SECONDS = 86_400


class FormForged(BadRequest):
    """The form is not one that this browser was given, or it is too old."""

    code = "form-forged"
    title = "The form is not valid any more"


def cookie_of(name: str) -> str | None:
    """A cookie of ours."""
    return _cookie(name).read()


def set_cookie(response: Response, name: str, value: str, seconds: int) -> None:
    """A cookie that no script and no other site can read; under https no other host can set it."""
    _cookie(name).set(response, value, seconds)


def sign_in_browser(response: Response, session: str) -> None:
    """Let the browser keep a session."""
    set_cookie(response, "session", session, SESSION_SECONDS)


def check_form(asked: Request) -> None:
    """Refuse a form that another site made the browser send.

    Raises:
        FormForged: this browser was not given it.
    """
    token = asked.form.get("form_token", "")
    if not service(Sessions).is_form_token(cookie_of("browser"), token):
        raise FormForged("Go back, reload the page and try again.")


def next_of(text: str | None) -> str:
    """Where to go on to; never to another site."""
    return text if text and _NEXT.fullmatch(text) else "/oauth/sign-in"


def go_to(address: str) -> Response:
    """Send the browser on, by GET whatever came before."""
    response: Any = redirect(address, 303)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response  # type: ignore[no-any-return]


def page(template: str, *, status: int = 200, sends_to: str = "", **values: Any) -> Response:
    """A page that runs no script, is framed by nobody and kept by nobody. Its form may be followed
    by a redirect to `sends_to`."""
    browser = cookie_of("browser") or secrets.token_urlsafe(24)
    nonce = secrets.token_urlsafe(16)
    g.form_token = service(Sessions).form_token(browser)
    html = render_template(f"oauth/{template}.html", nonce=nonce, **values)
    response = Response(html, status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; img-src 'self'; base-uri 'none'; "
        f"form-action 'self'{_origin(sends_to)}; frame-ancestors 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    set_cookie(response, "browser", browser, _DAY_SECONDS)
    return response


def _origin(address: str) -> str:
    parts = urlsplit(address)
    origin = f"{parts.scheme}:" + (f"//{parts.netloc}" if parts.netloc else "")
    return f" {origin}" if address and _ORIGIN.fullmatch(origin) else ""


def _cookie(name: str) -> Cookie:
    return Cookie.of(service(Settings), f"signpost_{name}")
