"""Segments that could not be counted, laid aside: to be looked at, replayed or dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from api.clicks.folder import READY, REJECTED, SpoolFolder
from api.clicks.records import count_clicks

_REASON = ".reason"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One segment that was laid aside."""

    id: str
    reason: str
    since: datetime | None
    body: bytes

    @property
    def clicks(self) -> int:
        """About how many clicks it holds: its lines."""
        return count_clicks(self.body)


class DeadLetters(Protocol):
    """Where they are kept. A letter is replayed or dropped while it is the latest of `scan`."""

    def count(self) -> int:
        """How many there are."""

    def scan(self) -> Iterator[DeadLetter]:
        """Each of them; the longest there first."""

    def replay(self, letter: DeadLetter) -> None:
        """Give it to the consumers once more."""

    def drop(self, letter: DeadLetter) -> None:
        """Delete it for good."""


class RejectedSegments:
    """Those of the spool of this host."""

    def __init__(self, folder: SpoolFolder) -> None:
        self._folder = folder
        self._aside = folder.path / REJECTED

    def count(self) -> int:
        """How many there are."""
        return len(self._names())

    def scan(self) -> Iterator[DeadLetter]:
        """Each of them, the oldest first."""
        for name in self._names():
            told = self._aside / f"{name}{_REASON}"
            try:
                body = (self._aside / f"{name}{READY}").read_bytes()
            except FileNotFoundError:
                continue  # somebody else has just dealt with it
            reason, since = "", None
            if told.exists():
                reason = told.read_text(encoding="utf-8").strip()
                since = datetime.fromtimestamp(told.stat().st_mtime, UTC)
            yield DeadLetter(name, reason, since, body)

    def replay(self, letter: DeadLetter) -> None:
        """Lay it back into the spool."""
        name = f"{letter.id}{READY}"
        (self._aside / name).rename(self._folder.path / name)
        (self._aside / f"{letter.id}{_REASON}").unlink(missing_ok=True)

    def drop(self, letter: DeadLetter) -> None:
        """Delete it for good."""
        for ending in (READY, _REASON):
            (self._aside / f"{letter.id}{ending}").unlink(missing_ok=True)

    def _names(self) -> list[str]:
        return sorted(path.stem for path in self._aside.glob(f"*{READY}"))
