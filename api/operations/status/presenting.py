"""The status as JSON, and as rows of a table: the same numbers as in the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from api.operations.status import words
from api.operations.status.board import LEVELS
from api.operations.status.counters import CALL_TIME, CLICK_DELAY, REDIRECT_TIME, Times
from api.operations.status.dependencies import Dependency
from api.operations.status.findings import Finding
from api.operations.status.hour import Hour, Values
from api.operations.status.service import Status


def status_out(status: Status, *, everything: bool) -> dict[str, Any]:
    """For scripts; reasons and advice only for those who may know everything."""
    return {
        "status": status.state,
        "at": _moment(status.at),
        "findings": [_finding_out(finding, everything) for finding in status.findings],
        "dependencies": [_dependency_out(each, everything) for each in status.dependencies],
        "minutes": _minutes_out(status.hour),
    }


def _finding_out(finding: Finding, everything: bool) -> dict[str, Any]:
    told = {"severity": finding.severity, "text": finding.text}
    return told | ({"advice": finding.advice} if everything else {})


def _dependency_out(each: Dependency, everything: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": each.name,
        "status": "up" if each.up else "down",
        "since": None if each.since is None else _moment(each.since),
    }
    if everything:
        told |= {"latency_ms": each.latency_ms}
        told |= {"reason": each.reason} if each.reason else {}
    return told


def _minutes_out(hour: Hour) -> list[dict[str, Any]]:
    """One object each; null where nothing is known."""
    calls = ("2xx", "3xx", "4xx", "5xx")
    columns: dict[str, Any] = {
        "redirects_per_second": {level: hour.rate(f"redirects.{level}") for level in LEVELS},
        "redirect_seconds": _quantiles(hour, REDIRECT_TIME),
        "calls_per_second": {kind: hour.rate(f"calls.{kind}") for kind in calls},
        "call_seconds": _quantiles(hour, CALL_TIME),
        "clicks_per_second": {
            "recorded": hour.rate("clicks_recorded"),
            "counted": hour.rate("clicks_counted"),
        },
        "click_delay_seconds": _quantiles(hour, CLICK_DELAY),
        "spool_bytes": hour.most("spool_bytes"),
        "oldest_click_seconds": hour.most("oldest_click_seconds"),
        "hosts": hour.sum("hosts"),
        "workers": hour.workers(),
        "busy_ratio": {"mean": hour.mean("busy"), "max": hour.most("busy")},
        "loop_delay_seconds": hour.most("loop_delay_seconds"),
        "pool_ratio": hour.most("pool_share"),
    }
    return [
        {"start": _moment(start)} | _at(columns, place) for place, start in enumerate(hour.starts)
    ]


def _at(columns: dict[str, Any], place: int) -> dict[str, Any]:
    return {
        name: _at(values, place) if isinstance(values, dict) else _rounded(values[place])
        for name, values in columns.items()
    }


def _rounded(value: float | None) -> float | None:
    """Without digits that mean nothing."""
    return None if value is None else float(f"{value:.4g}")


def _quantiles(hour: Hour, times: Times) -> dict[str, Values]:
    return {"p50": hour.quantile(0.5, times), "p99": hour.quantile(0.99, times)}


class Column(NamedTuple):
    """One number a minute, in words."""

    name: str
    cells: Sequence[str]


def table_of(hour: Hour) -> list[Column]:
    """What the pictures show, for those who read numbers."""
    return [
        Column("UTC", [words.clock(start) for start in hour.starts]),
        _column("redirects/s", hour.rate("redirects."), words.count),
        _column("99 %", hour.quantile(0.99, REDIRECT_TIME), words.seconds),
        _column("calls/s", hour.rate("calls."), words.count),
        _column("failed/s", hour.rate("calls.5xx"), words.count),
        _column("99 %", hour.quantile(0.99, CALL_TIME), words.seconds),
        _column("clicks/s", hour.rate("clicks_recorded"), words.count),
        _column("counted/s", hour.rate("clicks_counted"), words.count),
        _column("99 %", hour.quantile(0.99, CLICK_DELAY), words.seconds),
        _column("spool", hour.most("spool_bytes"), words.size),
        _column("busy", hour.most("busy"), words.share),
        _column("wait", hour.most("loop_delay_seconds"), words.seconds),
    ]


def _column(name: str, values: Values, tell: Callable[[float], str]) -> Column:
    return Column(name, ["–" if value is None else tell(value) for value in values])


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
