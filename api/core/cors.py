"""Which other origins' pages may call the API from a browser (Fetch Standard, CORS protocol).

Rules of our own: the library would be configured with as many lines, matches every path by regular
expressions on every answer, and repeats whatever headers a preflight names.
"""

from __future__ import annotations

from flask import Flask, Response, request

from config.settings import Settings

# What is called by programs. Redirects, pages and what sets a cookie are no other origin's matter.
_PATHS = ("/api/v1/", "/oauth/token", "/oauth/revoke", "/.well-known/")
_SENT = (
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, "
    "X-Api-Key, X-Request-ID, traceparent"
)
_SHOWN = (
    "ETag, Idempotent-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, "
    "WWW-Authenticate, X-Request-ID"
)
_PREFLIGHT_SECONDS = "7200"  # the most that Chromium remembers
ANY = "*"


def register_cors(app: Flask, settings: Settings) -> None:
    """Let pages of `CORS_ORIGINS` call the API of `app`; nothing where it is empty."""
    if not settings.cors_origins:
        return
    allowed = frozenset(settings.cors_origins)

    def share(response: Response) -> Response:
        if not request.path.startswith(_PATHS):
            return response
        origin = request.headers.get("Origin", "")
        if ANY in allowed:
            shared_with = ANY
        else:
            # Also without an origin: a cache must not give one caller's answer to another.
            response.vary.add("Origin")
            if origin not in allowed:
                return response
            shared_with = origin
        headers = response.headers
        # Never with credentials: a caller sends its key itself, so no browser lends it one.
        headers["Access-Control-Allow-Origin"] = shared_with
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
            headers["Access-Control-Allow-Headers"] = _SENT
            headers["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
        else:
            headers["Access-Control-Expose-Headers"] = _SHOWN
        return response

    app.after_request(share)
