"""What tests look for in an answer."""

from __future__ import annotations

from typing import Any

from werkzeug.test import TestResponse


def problem(response: TestResponse, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem that must have been answered."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    body = dict(response.json or {})
    assert body["status"] == status
    assert body["instance"] == f"urn:request:{response.headers['X-Request-ID']}"
    if code is not None:
        assert body["type"] == f"urn:signpost:problem:{code}"
    return body


def wrong_fields(response: TestResponse) -> list[str]:
    """The JSON pointers, or the names of parameters and headers, of a 422; each once."""
    errors = problem(response, 422, "validation-failed")["errors"]
    assert all(error["detail"] for error in errors)
    places = {
        next(error[kind] for kind in ("pointer", "parameter", "header") if kind in error)
        for error in errors
    }
    return sorted(places)
