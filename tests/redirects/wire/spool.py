"""What a web server writes to its spool, as it writes it."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from api.clicks.records import ClickRecord, OrphanRecord, read_segment


class OrphanKey(NamedTuple):
    """What visits without a link are counted by."""

    kind: int
    host: str
    workspace_id: int


class SpoolReader:
    """Reads each record once. It is the only consumer: what is sealed and read is deleted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, int] = {}
        self._orphans_seen: dict[str, int] = {}
        self.orphans: Counter[OrphanKey] = Counter()

    def read(self) -> list[ClickRecord]:
        """Clicks that were written since the last call."""
        found: list[ClickRecord] = []
        for path in sorted(self._folder.glob("*.*")):
            if path.suffix in (".open", ".ready"):
                # A segment that was sealed meanwhile is found by its new name.
                with contextlib.suppress(FileNotFoundError):
                    found += self._read(path)
        return found

    def _read(self, path: Path) -> list[ClickRecord]:
        try:
            body = path.read_bytes()
        except FileNotFoundError:
            path = path.with_suffix(".ready")
            body = path.read_bytes()
        segment = read_segment(body)
        seen = self._seen.get(segment.id, 0)
        self._seen[segment.id] = len(segment.records)
        self._count(segment.id, segment.orphans[self._orphans_seen.get(segment.id, 0) :])
        self._orphans_seen[segment.id] = len(segment.orphans)
        if path.suffix == ".ready":
            path.unlink()
            del self._seen[segment.id], self._orphans_seen[segment.id]
        return segment.records[seen:]

    def _count(self, _segment: str, orphans: list[OrphanRecord] | tuple[OrphanRecord, ...]) -> None:
        for orphan in orphans:
            self.orphans[OrphanKey(orphan.kind, orphan.host, orphan.workspace_id)] += orphan.visits
