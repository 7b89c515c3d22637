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
        self._waiting: deque[str] = deque()
        self._held: dict[str, tuple[Path, int]] = {}
        self._unreadable: set[str] = set()  # those that were told of
        self._adopted_at = -_ADOPT_EVERY_SECONDS

    def take(self, most_clicks: int) -> list[RawSegment]:
        """Segments of about `most_clicks` clicks in all, oldest first; nothing when none waits."""
        taken: list[RawSegment] = []
        clicks = 0
        if not self._waiting:
            self._look()
        while self._waiting and clicks < most_clicks:
            segment = self._try_one(self._waiting.popleft())
            if segment is not None:
                taken.append(segment)
                clicks += count_clicks(segment.body)
        return taken

    def acknowledge(self, segment: RawSegment) -> None:
        """The segment is counted: its file goes."""
        path, descriptor = self._held.pop(segment.name)
        try:
            path.unlink(missing_ok=True)
        finally:
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
        self._waiting.extend(self._folder.ready_names())

    def adopt_now(self) -> None:
        """Look for orphans at the next take, however short ago that was done."""
        self._adopted_at = -_ADOPT_EVERY_SECONDS

    def _try_one(self, name: str) -> RawSegment | None:
        """One that cannot be read keeps no other from being taken; it is told of once."""
        try:
            return self._take_one(self._folder.path / name)
        except OSError as error:
            if name not in self._unreadable:
                log.error("segment %s cannot be read, and waits: %s", name, error)
            self._unreadable.add(name)
            return None

    def _take_one(self, path: Path) -> RawSegment | None:
        if path.stem in self._held:
            return None
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            # Without its last link it was counted by the consumer that had the lock before.
            if not try_lock(descriptor) or os.fstat(descriptor).st_nlink == 0:
                os.close(descriptor)
                return None
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                body = stream.read()
        except OSError:
            os.close(descriptor)
            raise
        self._held[path.stem] = (path, descriptor)
        return RawSegment(path.stem, body)
