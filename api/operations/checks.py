"""Asking what a process depends on, all at once, within a deadline; and since when each is so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.core.dependencies import Dependency

DEADLINE_SECONDS = 2.0
# Anybody may ask, without a credential, and each question takes a connection to the database.
_KEPT_SECONDS = 1.0
# Who waits for a start or a recovery learns of it soon.
_KEPT_BAD_SECONDS = 0.1

UP = "up"
DOWN = "down"
# It answers, and its schema is older than this code.
BEHIND = "behind"

Details = dict[str, Any]
Report = tuple[bool, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Check:
    """One dependency: what asks it and may tell more, and whether the process is of use without."""

    name: str
    ask: Callable[[], Details | None]
    required: bool
    # As those who use it have found it, who are told what is found here.
    dependency: Dependency | None = None


class Failing(Exception):
    """A dependency fails, and it is known how."""

    def __init__(self, reason: str, *, status: str = DOWN, **details: Any) -> None:
        super().__init__(reason)
        self.status = status
        self.details = {"reason": reason} | details


class History:
    """Since when each thing is as it is, as far as this process has asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, str]] = {}

    def since(self, name: str, status: str) -> str:
        """When `name` came to be so (RFC 3339); now, where it was otherwise or was not known."""
        with self._lock:
            before = self._known.get(name)
            if before is None or before[0] != status:
                before = self._known[name] = (status, rfc3339(time.time()))
            return before[1]


class Kept:
    """A report that is made at most once in a while, however many ask for it."""

    def __init__(self, make: Callable[[], Report]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._until = 0.0

    def __call__(self) -> Report:
        with self._lock:
            if time.monotonic() >= self._until:
                self._report = self._make()
                seconds = _KEPT_SECONDS if self._report[0] else _KEPT_BAD_SECONDS
                self._until = time.monotonic() + seconds
            return self._report


def rfc3339(moment: float) -> str:
    """A moment (seconds since 1970) in UTC."""
    spelled = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return spelled.replace("+00:00", "Z")


def report_of(checks: Sequence[Check], history: History) -> Report:
    """Ask all of them; whether all that is required is up, and how each is."""
    # Threads of a pool that is not waited for: a dependency that hangs must not hang the answer.
    pool = ThreadPoolExecutor(max_workers=len(checks))
    started = time.monotonic()
    futures = [(check, pool.submit(_timed, check.ask)) for check in checks]
    states: dict[str, Any] = {}
    for check, future in futures:
        left = max(0.0, started + DEADLINE_SECONDS - time.monotonic())
        try:
            latency_ms, details = future.result(timeout=left)
            state: Details = {"status": UP, "latency_ms": latency_ms} | details
        except FutureTimeout:
            state = {"status": DOWN, "reason": "no answer in time"}
        except Failing as failing:
            state = {"status": failing.status} | failing.details
        except Exception as error:
            state = {"status": DOWN, "reason": type(error).__name__}
        states[check.name] = {"since": _since(check, state, history)} | state
    pool.shutdown(wait=False, cancel_futures=True)
    bad = [check for check in checks if states[check.name]["status"] != UP]
    usable = not any(check.required for check in bad)
    status = "ready" if not bad else "degraded" if usable else "unready"
    return usable, {"status": status, "checks": states}


def _since(check: Check, state: Details, history: History) -> str:
    """Since when it is so: requests may have seen that long before anybody asked for health."""
    since = history.since(check.name, state["status"])
    if check.dependency is None:
        return since
    before = check.dependency.state()
    if state["status"] != DOWN:
        check.dependency.answered()
    elif before is None or before.up:
        check.dependency.failed(state["reason"])
    known = check.dependency.state()
    if known is None or known.up == (state["status"] == DOWN):
        return since  # it fails now and then
    if not known.up:
        state["reason"] = known.reason
    return rfc3339(known.since)


def _timed(ask: Callable[[], Details | None]) -> tuple[float, Details]:
    started = time.perf_counter()
    details = ask() or {}
    return round((time.perf_counter() - started) * 1000, 2), details
