"""The least that a WSGI server can do: one answer that was made before, nothing looked up or kept.

gunicorn --worker-class gevent bench.rivals.wsgi:app
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

_HEADERS = [
    ("Location", "https://example.com/page/1"),
    ("Cache-Control", "private, no-store"),
    ("Content-Length", "0"),
]


def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request with the same redirect."""
    start_response("302 Found", _HEADERS)
    return [b""]
