"""Exports as tests read them."""

from __future__ import annotations

import json
from typing import Any

from werkzeug.test import TestResponse

from tests.caller import Caller


def lines_of(answer: TestResponse) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a whole export as NDJSON, and what its end says."""
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/x-ndjson"
    *rows, last = (json.loads(line) for line in answer.text.splitlines())
    return rows, last["end"]


def exported(caller: Caller, kind: str, **query: Any) -> list[dict[str, Any]]:
    """The rows of an export that must be complete."""
    rows, end = lines_of(caller.get(f"/exports/{kind}", query_string=query))
    assert end == {"complete": True, "rows": len(rows), "cursor": None}
    return rows
