"""The spool folder of this host as a source of segments, for installations without a broker."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from pathlib import Path

from api.clicks.folder import REJECTED, SpoolFolder, try_lock
from api.clicks.ingest import RawSegment
from api.clicks.records import count_clicks

log = logging.getLogger(__name__)

_ADOPT_EVERY_SECONDS = 1.0


class LocalSpool:
    """Delivers sealed segments. A delivered one is locked, so that of several consumers only one
    has it; when a consumer dies its locks go with it, and the segments are delivered again."""

    def __init__(self, folder: SpoolFolder) -> None:
        self._folder = folder
        self._waiting: deque[Path] = deque()
        self._held: dict[str, tuple[Path, int]] = {}
        self._adopted_at = -_ADOPT_EVERY_SECONDS

    def take(self, most_clicks: int) -> list[RawSegment]:
        """Segments of about `most_clicks` clicks in all, oldest first; nothing when none waits."""
        taken: list[RawSegment] = []
        clicks = 0
        if not self._waiting:
            self._look()
        while self._waiting and clicks < most_clicks:
            segment = self._take_one(self._waiting.popleft())
            if segment is not None:
                taken.append(segment)
                clicks += count_clicks(segment.body)
        return taken

    def acknowledge(self, segment: RawSegment) -> None:
        """The segment is counted: its file goes."""
        path, descriptor = self._held.pop(segment.name)
        path.unlink(missing_ok=True)
        os.close(descriptor)

    def reject(self, segment: RawSegment, reason: str) -> None:
        """The segment cannot be counted: it is laid aside, with a file that says why."""
        path, descriptor = self._held.pop(segment.name)
        aside = self._folder.path / REJECTED
        aside.mkdir(mode=0o700, exist_ok=True)
        (aside / f"{segment.name}.reason").write_text(f"{reason}\n", encoding="utf-8")
        path.rename(aside / path.name)
        os.close(descriptor)
        log.error("segment %s is rejected, see %s: %s", segment.name, aside, reason)

    def release(self) -> None:
        """Give up what was taken and neither acknowledged nor rejected; it is delivered again."""
        for _, descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._adopted_at >= _ADOPT_EVERY_SECONDS:
            self._adopted_at = now
            self._folder.adopt_orphans()
        self._waiting.extend(self._folder.ready_segments())

    def adopt_now(self) -> None:
        """Look for orphans at the next take, however short ago that was done."""
        self._adopted_at = -_ADOPT_EVERY_SECONDS

    def _take_one(self, path: Path) -> RawSegment | None:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        # Without its last link it was counted by the consumer that had the lock before.
        if not try_lock(descriptor) or os.fstat(descriptor).st_nlink == 0:
            os.close(descriptor)
            return None
        self._held[path.stem] = (path, descriptor)
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return RawSegment(path.stem, stream.read())
