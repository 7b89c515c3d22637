"""What a look at one thing found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from api.operations.doctor.subject import Subject


class Status(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    # It could not be looked at, for a reason that is told elsewhere.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing: what was found, and where it is not as it should be what to do, with the command
    for it where there is one."""

    check: str
    status: Status
    found: str
    advice: str = ""
    command: str = ""


class Look(NamedTuple):
    """A look at some things of one kind: its group, what it is called, and who looks."""

    group: str
    name: str
    at: Callable[[Subject], Iterable[Finding]]


def ok(check: str, found: str) -> Finding:
    """As it should be."""
    return Finding(check, Status.OK, found)


def warning(check: str, found: str, advice: str, command: str = "") -> Finding:
    """It works, and may not for long, or not as well as it could."""
    return Finding(check, Status.WARNING, found, advice, command)


def wrong(check: str, found: str, advice: str, command: str = "") -> Finding:
    """It does not work, or is about to fail."""
    return Finding(check, Status.WRONG, found, advice, command)


def unknown(check: str, found: str) -> Finding:
    """It could not be looked at."""
    return Finding(check, Status.UNKNOWN, found)
