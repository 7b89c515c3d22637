"""What goes on while a backup is made: links are made, changed and visited, clicks counted."""

from __future__ import annotations

import time
from typing import Any

from api.clicks.ingest import Ingest, RawSegment
from tests.caller import Caller
from tests.factories.clicks import a_click, a_segment
from tests.threads import Threads


class Load(Threads):
    """Threads that write to both shards, and one that only follows links."""

    def __init__(self, caller: Caller, ingest: Ingest, pair: list[dict[str, Any]]) -> None:
        """`pair` are a link on the one shard and one on the other."""
        self._caller = caller
        self._ingest = ingest
        self._pair = pair
        self.links: dict[str, dict[str, Any]] = {}
        self.segments: list[RawSegment] = []
        self.longest_visit = self.longest_write = 0.0
        tasks = (self._create, self._count, self._chain, self._visit)
        super().__init__(tasks, 0.002)

    def _create(self, number: int) -> None:
        began = time.monotonic()
        link = self._caller.create_link(slug=f"made-{number}", tags=["made"])
        self.longest_write = max(self.longest_write, time.monotonic() - began)
        self.links[link["slug"]] = link

    def _count(self, number: int) -> None:
        """Each segment has clicks of both shards."""
        clicks = [
            a_click(int(link["id"]), workspace_id=self._caller.workspace_id) for link in self._pair
        ]
        segment = a_segment(clicks * 3)
        self.segments.append(segment)
        self._ingest.ingest([segment])

    def _chain(self, number: int) -> None:
        """The second shard is told a number when the first has it: never the other way round."""
        for link in self._pair:
            answer = self._caller.patch(f"/links/{link['id']}", {"title": str(number)})
            assert answer.status_code == 200, answer.text

    def _visit(self, number: int) -> None:
        """Of links that no cache knows each visit asks a database."""
        link = self._pair[number % 2]
        began = time.monotonic()
        slug = link["slug"] if number % 4 else f"none-{number}"
        answer = self._caller.app.test_client().get(f"/{slug}")
        self.longest_visit = max(self.longest_visit, time.monotonic() - began)
        assert answer.status_code == (302 if number % 4 else 404), answer.text
