"""What the server itself answers: to what is no request, and where the application failed it.

gunicorn's own pages are HTML, repeat what was sent, and tell what its parser or its TLS library
thinks of it, down to a line of their source. Only the log has that here.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import gunicorn.util

from api.core.answers import PROBLEM, to_json
from api.core.problems import plain_problem


def install() -> None:
    """Answer with problems (RFC 9457) in this process and those that it forks."""
    gunicorn.util.write_error = write_refusal


def write_refusal(sock: Any, status: int, reason: str, message: str) -> None:
    """Send a problem that tells only the status, and that the connection is at its end.

    The `message` of gunicorn stays here; it has been logged.
    """
    del reason, message
    body = to_json(plain_problem(status))
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nServer: gunicorn\r\n"
        f"Connection: close\r\nContent-Type: {PROBLEM}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    gunicorn.util.write_nonblock(sock, head.encode("ascii") + body)
