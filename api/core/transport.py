"""How answers travel: https and its promise to browsers, and what else a browser may do with them.

The scheme of a request is decided here, once, and written where WSGI keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from flask import Flask, Response, redirect, request

from api.core.client import forwarded_scheme, is_trusted
from api.core.errors import DomainError
from config.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from werkzeug.wrappers import Response as AnyResponse

_HSTS = "Strict-Transport-Security"
_REMEMBERED = 4_096
# What each page gets that does not say it itself.
_PAGE = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), "
    "payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# Whatever a browser takes it for: it runs nothing, is in no frame and is no other site's resource.
_DATA = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# What stands in an address as it is (RFC 3986 section 2), or encodes what does not.
_PLAIN = "%:/?#[]@!$&'()*+,;=-._~"
# Asked by machines inside, over whatever they have.
_ALWAYS_PLAIN = "operations."


class HttpsRequired(DomainError):
    """It came over plain http, and what it carries was readable on the way."""

    status = 403
    code = "https-required"
    title = "Use https"


class Transport:
    """What the settings say about https and about proxies."""

    def __init__(self, settings: Settings) -> None:
        self.trusted = settings.trusted_proxies
        self._force_https = settings.force_https
        self._public = urlsplit(settings.public_url)
        subdomains = "; includeSubDomains" if settings.hsts_include_subdomains else ""
        # Only over https is it a promise (RFC 6797 section 7.2).
        self._promise = (
            f"max-age={settings.hsts_seconds}{subdomains}" if settings.hsts_seconds else None
        )
        self._is_trusted = lru_cache(_REMEMBERED)(partial(is_trusted, trusted=self.trusted))

    def register(self, app: Flask) -> None:
        """Decide the scheme of each request of `app`, and keep plain http out where asked to."""
        app.wsgi_app = _WithScheme(app.wsgi_app, self)  # type: ignore[method-assign]
        if self._force_https:
            app.before_request(self._refuse_plain_http)

    def scheme_of(self, environ: WSGIEnvironment) -> str:
        """The scheme by which the visitor asked."""
        peer, told = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_PROTO", "")
        return self._read_scheme(peer, told, tls=environ["wsgi.url_scheme"] == "https")

    def prepared_lines(self, peer: str, forwarded_proto: str) -> bytes | None:
        """The lines of headers, each after its line's end, that a redirect gets which is answered
        before it is parsed; None if it must not be.

        It comes over a connection without TLS: `peer` and `X-Forwarded-Proto` are all there is.
        """
        if self._force_https and self._told(peer, forwarded_proto) == "http":
            return None
        if self._promise is None or self._read_scheme(peer, forwarded_proto, tls=False) == "http":
            return b""
        return f"\r\n{_HSTS}: {self._promise}".encode()

    def add_headers(self, response: Response, scheme: str) -> None:
        """Say what a browser may do with an answer."""
        headers = response.headers
        if self._promise is not None and scheme == "https":
            headers.add(_HSTS, self._promise)
        headers.add("X-Content-Type-Options", "nosniff")
        content_type = headers.get("Content-Type", "")
        if content_type.startswith("text/html"):
            missing: Iterable[tuple[str, str]] = _PAGE.items()
        elif "Location" in headers and 300 <= response.status_code < 400:
            # Nothing to show; and these would hold for what it leads to, for an image that others
            # show by its short link, or for the referrer that its owner counts.
            return
        else:
            missing = _DATA.items()
        for name, value in missing:
            if name not in headers:
                headers.add(name, value)

    def _read_scheme(self, peer: str, forwarded_proto: str, *, tls: bool) -> str:
        told = self._told(peer, forwarded_proto)
        if told is not None:
            return told
        if tls:
            return "https"
        # Of a site that is public as https, who asks in http is a proxy that does not tell; where
        # the proxies are known and it is none of them, it is somebody who went round them.
        proxied = not self.trusted or self._is_trusted(peer)
        return self._public.scheme if proxied else "http"

    def _told(self, peer: str, forwarded_proto: str) -> str | None:
        if not forwarded_proto or not self.trusted or not self._is_trusted(peer):
            return None
        return forwarded_scheme(forwarded_proto)

    def _refuse_plain_http(self) -> AnyResponse | None:
        told = self._told(request.remote_addr or "", request.headers.get("X-Forwarded-Proto", ""))
        if told != "http" or (request.endpoint or "").startswith(_ALWAYS_PLAIN):
            return None
        if request.method not in ("GET", "HEAD"):
            raise HttpsRequired("Send this again over https, and with another secret.")
        host = urlsplit(f"//{request.host}").hostname or ""
        if host == self._public.hostname and self._public.scheme == "https":
            host = self._public.netloc
        elif ":" in host:
            host = f"[{host}]"
        return redirect(f"https://{host}{_target(request.environ)}", 308)


def _target(environ: WSGIEnvironment) -> str:
    """What was asked for, byte for byte: WSGI's own path has lost what was encoded in it."""
    raw: str = environ.get("RAW_URI", "/")
    if not raw.startswith("/"):  # the absolute form (RFC 9112 section 3.2.2)
        raw = "/" + raw.partition("://")[2].partition("/")[2]
    return quote(raw.encode("latin-1"), safe=_PLAIN)


class _WithScheme:
    """Writes the scheme of each request where everything looks for it."""

    def __init__(self, wsgi_app: WSGIApplication, transport: Transport) -> None:
        self._wsgi_app = wsgi_app
        self._scheme_of = transport.scheme_of

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.url_scheme"] = self._scheme_of(environ)
        return self._wsgi_app(environ, start_response)
