"""The least that a Flask route can do: nothing is looked up, and no click is kept.

gunicorn --worker-class gevent bench.rivals.flask_route:app
"""

from __future__ import annotations

from flask import Flask, Response

app = Flask(__name__)


@app.get("/<slug>")
def follow(slug: str) -> Response:
    """Answer with a redirect to a page of that name."""
    location = f"https://example.com/page/{slug}"
    return Response(
        status=302, headers={"Location": location, "Cache-Control": "private, no-store"}
    )
