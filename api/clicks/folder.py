"""The folder of the click segments: their names, their adoption, how much waits in it.

The ending of a name is the state of a segment:
`.new` is being made, `.open` is written by the process that holds its lock, `.ready` is sealed.
Whoever can lock an `.open` segment knows that its writer is dead, and seals it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

NEW = ".new"
OPEN = ".open"
READY = ".ready"
REJECTED = "rejected"
# A segment is made within microseconds; one that is still new after this is of a dead process.
_STALE_NEW_SECONDS = 60.0
# After a day without a consumer there may be tens of thousands.
_FILES_AT_ONCE = 250


def new_segment_id(now_ms: int) -> str:
    """A name for a segment: order by name is order by creation."""
    return f"{now_ms:013d}-{secrets.token_hex(8)}"


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file, unless another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class SpoolFolder:
    """What several processes of one host share: web workers write, consumers read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make the folder where it is missing; clicks tell about people, so nobody else reads."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def ready_segments(self) -> list[Path]:
        """The sealed segments, oldest first."""
        return [self.path / name for name in self.ready_names()]

    def ready_names(self) -> list[str]:
        """The names of the sealed segments' files, oldest first: there can be very many."""
        return sorted(entry.name for entry in self._entries() if entry.name.endswith(READY))

    def size_bytes(self) -> int:
        """Bytes of all segments, sealed or not; those that were rejected are not counted."""
        return sum(_size(entry) for entry in self._entries())

    def oldest_age_seconds(self) -> float:
        """For how long the oldest sealed segment waits; 0 when none does."""
        names = [entry.name for entry in self._entries() if entry.name.endswith(READY)]
        if not names:
            return 0.0
        created_ms = min(names).partition("-")[0]
        if not created_ms.isdecimal():
            return 0.0
        return max(time.time() - int(created_ms) / 1000, 0.0)

    def is_being_read(self) -> bool:
        """Whether a consumer has taken some of the sealed segments."""
        return any(not self.is_free(path) for path in self.ready_segments())

    def adopt_orphans(self) -> int:
        """Seal the segments whose writers are dead, and clear away half-made ones; how many."""
        adopted = 0
        for entry in self._entries():
            if entry.name.endswith(OPEN):
                adopted += self._adopt(self.path / entry.name)
            elif entry.name.endswith(NEW) and _age_seconds(entry) > _STALE_NEW_SECONDS:
                (self.path / entry.name).unlink(missing_ok=True)
        return adopted

    def is_free(self, path: Path) -> bool:
        """Whether no process holds a segment: it is nobody's, or gone."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            return try_lock(descriptor)
        finally:
            os.close(descriptor)

    def _adopt(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            if not try_lock(descriptor):
                return False
            path.rename(path.with_suffix(READY))
        except FileNotFoundError:
            return False  # its writer, or another adopter, sealed it first
        finally:
            os.close(descriptor)
        log.warning("adopted the segment of a dead process: %s", path.stem)
        return True

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.path) as entries:
                for number, entry in enumerate(entries):
                    if number % _FILES_AT_ONCE == _FILES_AT_ONCE - 1:
                        time.sleep(0)  # let others go on, where greenlets share this thread
                    if entry.name.endswith((NEW, OPEN, READY)):
                        yield entry
        except FileNotFoundError:
            return


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0


def _age_seconds(entry: os.DirEntry[str]) -> float:
    try:
        return time.time() - entry.stat().st_mtime
    except FileNotFoundError:
        return 0.0
