"""The least that the API can cost on Flask: one link that is in memory, shown again and again.

No key is looked at, nothing is checked, and no database is asked.

gunicorn --worker-class api.core.worker.Worker bench.rivals.flask_api:app
"""

from __future__ import annotations

import orjson
from flask import Flask, Response, request

_LINK = {
    "id": "118504373248419582",
    "slug": "aB3dE5f",
    "domain": "127.0.0.1",
    "short_url": "http://127.0.0.1:8000/aB3dE5f",
    "url": "https://example.com/article/1?utm_source=newsletter&utm_medium=email",
    "state": "active",
    "title": None,
    "tags": [],
    "starts_at": None,
    "expires_at": None,
    "max_clicks": None,
    "has_password": False,
    "redirect_status": 302,
    "forward_query": False,
    "metadata": {},
    "clicks": 0,
    "created_at": "2026-11-24T00:14:04.287000Z",
    "updated_at": "2026-11-24T00:14:04.287000Z",
}

app = Flask(__name__)


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, content_type="application/json")


@app.get("/")
def health() -> Response:
    """Answer who asks whether it runs."""
    return _json({})


@app.get("/api/v1/links/<identifier>")
def get_link(identifier: str) -> Response:
    """Show the link under any id."""
    return _json(_LINK | {"id": identifier})


@app.get("/api/v1/links")
def list_links() -> Response:
    """Show the link as often as was asked for."""
    return _json({"data": [_LINK] * int(request.args["limit"]), "next_cursor": None})


@app.post("/api/v1/links")
def create_link() -> Response:
    """Read what came in, and show the link."""
    return _json(_LINK | {"url": orjson.loads(request.get_data())["url"]}, 201)
