"""Sends the rows of a feed to a Signpost, however often the connection breaks, and waits for them
to be loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from api.transfers.sources.errors import NotAnswered, Unreadable
from api.transfers.sources.feed import Feed
from api.transfers.sources.signpost import Broken, Signpost

_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0
_ENDED = ("finished", "failed", "cancelled")
_LOOK_SECONDS = (0.2, 2.0)

Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mover:
    """One import on its way."""

    signpost: Signpost
    key: str
    # Give up when nothing has gone forward for so long.
    patience_seconds: float
    # Told after each row that is sent how many there are, and why it is not going on for now.
    on_row: Callable[[int], None]
    on_trouble: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep

    def send(self, feed: Feed, query: Mapping[str, Any]) -> Found:
        """Send all rows; answers the import, which is queued then or further.

        Raises:
            NotAnswered: patience has an end.
            Refused: Signpost does not take it.
            Unreadable: the feed ends otherwise than it should.
        """
        attempts = _Attempts(self.patience_seconds, self.sleep)
        while True:
            try:
                found = self.signpost.find(self.key)
                if found is not None and found["state"] != "receiving":
                    return found
                start = 0 if found is None else int(found["rows"])
                attempts.went_to(start)
                return self._send_from(feed, query, start)
            except Broken as broken:
                self.on_trouble(str(broken))
                attempts.failed(broken)

    def wait(self, found: Found, on_progress: Callable[[Found], None]) -> Found:
        """Wait until an import has ended; answers it as it is then.

        Raises:
            NotAnswered: patience has an end.
        """
        attempts = _Attempts(self.patience_seconds, self.sleep)
        pause, longest = _LOOK_SECONDS
        while found["state"] not in _ENDED:
            self.sleep(pause)
            pause = min(pause * 1.5, longest)
            try:
                found = self.signpost.get(found["id"])
            except Broken as broken:
                self.on_trouble(str(broken))
                attempts.failed(broken)
                continue
            attempts.went_to(found["progress"])
            attempts.stood_still(found["state"])
            on_progress(found)
        return found

    def _send_from(self, feed: Feed, query: Mapping[str, Any], start: int) -> Found:
        asked = dict(query)
        if start:
            asked["from_row"] = start
        return self.signpost.send(self._told(feed, start), self.key, feed.content_type, asked)

    def _told(self, feed: Feed, start: int) -> Iterator[bytes]:
        if feed.head:
            yield feed.head
        number = start
        try:
            for line in feed.lines(start):
                number += 1
                yield line
                self.on_row(number)
        except OSError as error:
            # Of the feed, and not of the connection that it is written to.
            raise Unreadable(str(error)) from error


class _Attempts:
    """Waits longer after each failure, until something has gone forward."""

    def __init__(self, patience_seconds: float, sleep: Callable[[float], None]) -> None:
        self._patience = patience_seconds
        self._sleep = sleep
        self._wait = _FIRST_WAIT_SECONDS
        self._reached: float | None = None
        self._since = time.monotonic()

    def went_to(self, reached: float) -> None:
        """Say how far it is."""
        if self._reached is None or reached > self._reached:
            self._reached = reached
            self._since = time.monotonic()
            self._wait = _FIRST_WAIT_SECONDS

    def stood_still(self, state: str) -> None:
        """Look whether it has been where it is for too long.

        Raises:
            NotAnswered: it has.
        """
        if time.monotonic() - self._since > self._patience:
            raise NotAnswered(
                f"the import has been {state} for long: does a job worker run there? "
                "Look again with --resume"
            )

    def failed(self, broken: Broken) -> None:
        """Wait before another attempt.

        Raises:
            NotAnswered: there were enough of them.
        """
        wait = broken.wait_seconds or self._wait
        if time.monotonic() + wait - self._since > self._patience:
            kept = "" if self._reached is None else ". What was sent is kept: go on with --resume"
            raise NotAnswered(f"given up: {broken}{kept}")
        self._sleep(wait)
        self._wait = min(2 * self._wait, _LONGEST_WAIT_SECONDS)
