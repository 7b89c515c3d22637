"""Plans: what a workspace may use. Two are always there, operators define others in `PLANS`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_MOST = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a workspace may use; 0: as much as it likes."""

    name: str
    reads_per_minute: int = 0  # of each credential
    writes_per_minute: int = 0  # of each credential
    api_calls_per_day: int = 0  # of the whole workspace, as is the next
    links_per_month: int = 0


# Far above what a person or a busy program needs, and below what harms others.
STANDARD = Plan("standard", reads_per_minute=6_000, writes_per_minute=3_000)
UNLIMITED = Plan("unlimited")
_LIMITS = tuple(item.name for item in fields(Plan) if item.name != "name")


def read_plans(value: str) -> tuple[Plan, ...]:
    """Plans as JSON, or in a file whose path is given.

    Raises:
        ValueError: with a sentence that says what is wrong, and where.
    """
    if not value.lstrip().startswith("{"):
        try:
            value = Path(value).read_text()
        except OSError as error:
            raise ValueError(f"Neither JSON nor a file that can be read: {error}.") from None
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"Not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise ValueError("Must be an object of plans by their name.")
    return tuple(_read_plan(name, limits) for name, limits in document.items())


def by_name(plans: Sequence[Plan]) -> Mapping[str, Plan]:
    """All plans there are, with those that an operator defined."""
    return {plan.name: plan for plan in (STANDARD, UNLIMITED, *plans)}


def _read_plan(name: str, limits: Any) -> Plan:
    if not _NAME.fullmatch(name):
        raise ValueError(f"Plan {name!r}: a name is small letters, digits, - and _.")
    if name == UNLIMITED.name:
        raise ValueError(f"Plan {name!r} is the one without limits.")
    if not isinstance(limits, dict):
        raise ValueError(f"Plan {name!r}: must be an object of limits.")
    for limit, value in limits.items():
        if limit not in _LIMITS:
            raise ValueError(f"Plan {name!r}: no such limit: {limit!r} ({', '.join(_LIMITS)}).")
        if type(value) is not int or not 0 <= value <= _MOST:
            raise ValueError(f"Plan {name!r}: {limit} must be a whole number, 0 for none.")
    return Plan(name, **limits)
