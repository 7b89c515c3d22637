"""The disk of SIGNPOST_HOME, and the clicks that wait on it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson

from api.clicks.folder import OPEN, SpoolFolder
from api.clicks.losses import NAME as LOSSES
from api.clicks.losses import LostClicks
from api.clicks.rejected import RejectedSegments
from api.operations.doctor.finding import Finding, ok, warning, wrong
from api.operations.doctor.subject import Subject

_LITTLE_BYTES = 100_000_000
_FEW_FILES = 10_000
# Without a consumer for a minute somebody should look; one that restarts takes a few seconds.
_OLD_SECONDS, _VERY_OLD_SECONDS = 30.0, 300.0
_RECENT_SECONDS = 86_400.0
_TAIL_BYTES = 4_096


def look_at_home(subject: Subject) -> Iterator[Finding]:
    """Room for bytes and files, and the right to write."""
    settings = subject.settings
    home = settings.signpost_home
    if not home.exists():
        parent = next(path for path in home.parents if path.exists())
        if os.access(parent, os.W_OK):
            yield ok("home", f"{home} is not there yet; the first start makes it")
        else:
            yield wrong("home", f"{home} cannot be made", "Set SIGNPOST_HOME to another folder.")
        home = parent
    elif not os.access(home, os.W_OK | os.X_OK):
        found = f"this account cannot write to {home}"
        yield wrong("home", found, "Run as the account that owns it.", f"ls -ld {home}")
    disk = os.statvfs(home)
    free = disk.f_bavail * disk.f_frsize
    waiting = SpoolFolder(settings.spool_path).size_bytes()
    wanted = max(settings.spool_max_bytes - waiting, 0)
    found = f"{_size(free)} free at {home}"
    if free < _LITTLE_BYTES:
        yield wrong("space", found, "Make room: where the disk is full, clicks are lost.")
    elif free < wanted:
        advice = f"Make room, or lower SPOOL_MAX_BYTES: the spool may take {_size(wanted)} more."
        yield warning("space", found, advice)
    else:
        yield ok("space", found)
    if disk.f_files and disk.f_favail < _FEW_FILES:
        found = f"place for {disk.f_favail} more"
        yield warning("files", found, "Make room: each segment of clicks is a file.", "df -i")


def look_at_spool(subject: Subject) -> Iterator[Finding]:
    """What waits, what dead processes left, what was rejected, and what was lost."""
    settings = subject.settings
    folder = SpoolFolder(settings.spool_path)
    if not folder.path.exists():
        yield ok("spool", "not there yet")
        return
    yield from _access(folder.path)
    yield _waiting(folder, settings.spool_max_bytes)
    yield from _orphans(folder)
    if rejected := RejectedSegments(folder).count():
        found = f"{rejected} segments that could not be counted"
        advice = "Look why, then replay or drop them."
        yield warning("rejected", found, advice, "scripts/dead-letters --spool list")
    yield from _losses(folder.path)


def _access(path: Path) -> Iterator[Finding]:
    state = path.stat()
    if stat.S_IMODE(state.st_mode) & 0o077:
        found = f"others may look into it (mode {stat.S_IMODE(state.st_mode):o})"
        yield warning("spool", found, "Clicks tell about people.", f"chmod 700 {path}")
    if not os.access(path, os.W_OK | os.X_OK):
        yield wrong("spool", f"this account cannot write to {path}", "Run as its owner.")


def _waiting(folder: SpoolFolder, bound: int) -> Finding:
    waiting, age = folder.size_bytes(), folder.oldest_age_seconds()
    found = f"{_size(waiting)} of {_size(bound)} wait, the oldest for {age:.0f} s"
    advice = "Is the consumer running, and its database there?"
    command = "scripts/doctor --live clicks"
    if waiting > bound:
        return wrong("waiting clicks", found, f"More are lost. {advice}", command)
    if age > _VERY_OLD_SECONDS:
        return wrong("waiting clicks", found, advice, command)
    if age > _OLD_SECONDS or waiting > bound / 2:
        return warning("waiting clicks", found, advice, command)
    return ok("waiting clicks", found)


def _orphans(folder: SpoolFolder) -> Iterator[Finding]:
    orphans = [
        path for path in folder.path.glob(f"*{OPEN}") if path.exists() and folder.is_free(path)
    ]
    if orphans:
        found = f"{len(orphans)} segments of processes that died"
        advice = "The next consumer, or web server with a broker, takes them: start one."
        yield warning("orphaned segments", found, advice, "scripts/consume-clicks --once")


def _losses(path: Path) -> Iterator[Finding]:
    lost = LostClicks(path).total()
    if not lost:
        yield ok("lost clicks", "none")
        return
    last = _last_loss(path / LOSSES)
    found = f"{lost} in all" + (f", the last at {last:%Y-%m-%d %H:%M} UTC" if last else "")
    advice = "See what was full, then move the file away to begin anew."
    command = f"tail {path / LOSSES}"
    if last and time.time() - last.timestamp() < _RECENT_SECONDS:
        yield wrong("lost clicks", found, advice, command)
    else:
        yield warning("lost clicks", found, advice, command)


def _last_loss(path: Path) -> datetime | None:
    with path.open("rb") as stream:
        stream.seek(max(path.stat().st_size - _TAIL_BYTES, 0))
        lines = stream.read().splitlines()
    for line in reversed(lines):
        try:
            return datetime.fromisoformat(orjson.loads(line)["to"]).astimezone(UTC)
        except (ValueError, KeyError, TypeError):
            continue
    return None


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if number >= 10 or unit == "bytes" else f"{number:.1f} {unit}"
