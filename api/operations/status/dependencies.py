"""How what the installation depends on is now, and how it was in each minute of the last hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.operations.status.figures import Figures
from api.operations.status.hour import Hour

_ANSWERS, _FAILS = "up.", "down."
# Who has not been asked for so long is not there any more.
_HEARD_MINUTES = 5
Checks = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Dependency:
    """How one of them is, and how it was in each minute: all answers good, or not, or unknown."""

    name: str
    up: bool
    since: float | None
    latency_ms: float | None
    reason: str
    minutes: Sequence[bool | None]


def figures_of(up: Mapping[str, bool]) -> Figures:
    """What is kept of how each of them is at one moment."""
    return {(_ANSWERS if is_up else _FAILS) + name: 1.0 for name, is_up in up.items()}


def read_dependencies(checks: Checks, hour: Hour) -> list[Dependency]:
    """Those that this process has asked now, then those that only others know of."""
    told = {
        name.removeprefix(beginning)
        for minute in hour.last(_HEARD_MINUTES).minutes
        for name in minute or ()
        for beginning in (_ANSWERS, _FAILS)
        if name.startswith(beginning)
    }
    others = sorted(told - checks.keys())
    return [_asked(name, checks[name], hour) for name in checks] + [
        _heard_of(name, hour) for name in others
    ]


def _asked(name: str, check: Mapping[str, Any], hour: Hour) -> Dependency:
    up, minutes = check["status"] == "up", _minutes(name, hour)
    moments = (_moment(check.get("since")), _since(up, minutes, hour))
    return Dependency(
        name,
        up,
        # Who was started lately has not seen it begin.
        min((moment for moment in moments if moment is not None), default=None),
        check.get("latency_ms"),
        check.get("reason", ""),
        minutes,
    )


def _heard_of(name: str, hour: Hour) -> Dependency:
    minutes = _minutes(name, hour)
    up = next((state for state in reversed(minutes) if state is not None), True)
    return Dependency(name, up, _since(up, minutes, hour), None, "", minutes)


def _minutes(name: str, hour: Hour) -> list[bool | None]:
    return [_state(name, minute or {}) for minute in hour.minutes]


def _state(name: str, minute: Figures) -> bool | None:
    if _FAILS + name in minute:
        return False
    return True if _ANSWERS + name in minute else None


def _since(up: bool, minutes: Sequence[bool | None], hour: Hour) -> float | None:
    """When the last run of minutes of this kind began, as far as the hour tells."""
    began = None
    for start, state in zip(reversed(hour.starts), reversed(minutes), strict=True):
        # The minute that goes on may be too young to know; a longer gap hides what was before it.
        if state is None and began is None and start >= hour.starts[-1]:
            continue
        if state is not up:
            break
        began = float(start)
    return began


def _moment(told: str | None) -> float | None:
    return datetime.fromisoformat(told).timestamp() if told else None
