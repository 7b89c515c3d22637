"""Who imports links: sends rows, has them loaded, and asks what became of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from werkzeug.test import TestResponse

from api.transfers.imports.loading import ImportLoader
from tests.caller import Caller

NDJSON = "application/x-ndjson"


class NoJobs:
    """Notes the jobs that it is given."""

    def __init__(self) -> None:
        self.offered: list[int] = []

    def load_import(self, identifier: int) -> None:
        self.offered.append(identifier)


def ndjson(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@dataclass(frozen=True)
class Importer:
    """A caller with a worker at hand."""

    caller: Caller
    loader: ImportLoader
    jobs: NoJobs = field(default_factory=NoJobs)

    def send(self, body: Any, query: str = "", **headers: str) -> TestResponse:
        """Send a body; rows are sent as NDJSON."""
        data = body if isinstance(body, bytes) else ndjson(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.caller.request(
            "POST", f"/imports?{query}", data=data, headers={"Content-Type": NDJSON} | named
        )

    def run(self, body: Any, query: str = "", **headers: str) -> dict[str, Any]:
        """Have rows imported; the import as it is then."""
        answer = self.send(body, query, **headers)
        assert answer.status_code == 202, answer.text
        identifier = (answer.json or {})["id"]
        while self.loader.load(int(identifier)) == "a part":
            pass
        return self.get(identifier)

    def get(self, identifier: str) -> dict[str, Any]:
        return dict(self.caller.get(f"/imports/{identifier}").json or {})

    def outcomes(self, done: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
        text = self.caller.get(f"/imports/{done['id']}/outcomes?{query}").text
        return [json.loads(line) for line in text.splitlines()]

    def links(self, query: str = "") -> list[dict[str, Any]]:
        """All links of the workspace, the oldest first."""
        page = self.caller.get(f"/links?limit=200&sort=created_at&{query}").json or {}
        assert page.get("next_cursor") is None, page
        return list(page["data"])


def counts(done: dict[str, Any]) -> dict[str, int]:
    names = ("created", "exists", "overwritten", "failed")
    return {name: done[name] for name in names if done[name]}
