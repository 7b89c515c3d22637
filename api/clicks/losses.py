"""Clicks that were answered and could not be recorded: counted, written down, and told of.

They are lines in the file `lost` of the spool folder, `{"from": time, "to": time, "clicks": n}`,
one for each second and process that lost any.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import orjson

log = logging.getLogger(__name__)

NAME = "lost"
_WRITE_SECONDS = 1.0
_TELL_SECONDS = 60.0
# After so long without a loss it is over.
_OVER_SECONDS = 5.0


class LostClicks:
    """Counts the losses of this process, and knows those of all."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._first = self._last = 0.0  # times of the losses that are not written yet
        self._unwritten = 0
        self._untold = 0
        self._reason = ""
        self._written_at = self._told_at = -_TELL_SECONDS
        self._told = False
        self._torn = False
        self._read_bytes = self._read_clicks = 0

    @property
    def pending(self) -> bool:
        """Whether `write` has something to do, now or soon."""
        return bool(self._unwritten) or self._told

    def add(self, reason: str, clicks: int = 1) -> None:
        """Count clicks that are lost."""
        with self._lock:
            self._last = time.time()
            if not self._unwritten:
                self._first = self._last
            self._unwritten += clicks
            self._untold += clicks
            self._reason = reason

    def write(self, *, at_once: bool = False) -> None:
        """Write down and tell what was lost, each as often as is good."""
        now = time.monotonic()
        if self._unwritten and (at_once or now - self._written_at >= _WRITE_SECONDS):
            self._written_at = now
            self._append()
        if self._untold and (at_once or not self._told or now - self._told_at >= _TELL_SECONDS):
            self._told, self._told_at = True, now
            lost, self._untold = self._untold, 0
            log.error("clicks are lost, %d more: %s; see %s", lost, self._reason, self._path)
        elif self._told and not self._untold and time.time() - self._last > _OVER_SECONDS:
            self._told = False
            log.warning("clicks are recorded again")

    def total(self) -> int:
        """Clicks that all processes of this folder have lost and written down, ever."""
        with self._reading:
            try:
                with self._path.open("rb") as stream:
                    if os.fstat(stream.fileno()).st_size < self._read_bytes:
                        self._read_bytes = self._read_clicks = 0  # somebody began it anew
                    stream.seek(self._read_bytes)
                    whole, newline, _ = stream.read().rpartition(b"\n")
            except FileNotFoundError:
                self._read_bytes = self._read_clicks = 0
                return 0
            self._read_bytes += len(whole) + len(newline)
            self._read_clicks += sum(map(_clicks_of, whole.split(b"\n")))
            return self._read_clicks

    def _append(self) -> None:
        with self._lock:
            first, last, clicks = self._first, self._last, self._unwritten
            self._unwritten = 0
        line = orjson.dumps(
            {"from": _spelled(first), "to": _spelled(last), "clicks": clicks},
            option=orjson.OPT_APPEND_NEWLINE,
        )
        # What stands in the file of a line that was cut off shall not spoil this one.
        line = b"\n" + line if self._torn else line
        written = 0
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                written = os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            log.debug("losses cannot be written down yet: %s", error)
        if written:
            self._torn = written < len(line)
        if written < len(line):
            # The same full disk, most likely: kept in memory for the next try.
            with self._lock:
                self._first = first
                self._unwritten += clicks


def _clicks_of(line: bytes) -> int:
    try:
        return int(orjson.loads(line)["clicks"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return 0  # a line of a disk that was full


def _spelled(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
