"""What the page tells: how everything is, why, and how the last hour was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from redis.exceptions import RedisError

from api.operations.status import words
from api.operations.status.board import Panel, make_panels
from api.operations.status.dependencies import Dependency, read_dependencies
from api.operations.status.figures import fullest
from api.operations.status.findings import Finding, find, state_of
from api.operations.status.hour import MINUTES, Hour
from api.operations.status.local import MinuteFiles
from api.operations.status.shared import SharedMinutes


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that can be seen."""

    at: float
    state: str
    findings: Sequence[Finding]
    dependencies: Sequence[Dependency]
    hour: Hour
    panels: Sequence[Panel]
    drawn: Sequence[Markup]  # the picture of each panel, once for all who look meanwhile


class StatusService:
    """Puts together what this process asks and what all processes have told."""

    def __init__(
        self,
        ready: Callable[[], tuple[bool, Mapping[str, Any]]],
        local: MinuteFiles,
        shared: SharedMinutes | None,
        *,
        queued: bool,
        kept_seconds: float,
    ) -> None:
        """However many look: dependencies and minutes are asked once in `kept_seconds`."""
        self._ready = ready
        self._local = local
        self._shared = shared
        self._queued = queued
        self._kept_seconds = kept_seconds
        self._lock = threading.Lock()
        self._kept: Status | None = None

    def look(self) -> Status:
        """How it is, or was seconds ago."""
        with self._lock:
            now = time.time()
            if self._kept is None or not 0 <= now - self._kept.at < self._kept_seconds:
                self._kept = self._look(now)
            return self._kept

    def _look(self, now: float) -> Status:
        usable, report = self._ready()
        hour = self._read_hour(now)
        dependencies = read_dependencies(report["checks"], hour)
        findings = find(dependencies, usable, hour, queued=self._queued)
        panels = make_panels(hour)
        starts = hour.starts
        labels = (words.clock(starts[0]), words.clock(starts[len(starts) // 2]), "now")
        drawn = [panel.picture.draw(labels) for panel in panels]
        return Status(now, state_of(findings), findings, dependencies, hour, panels, drawn)

    def _read_hour(self, now: float) -> Hour:
        last = int(now // 60)
        minutes = range(last - MINUTES + 1, last + 1)
        local = self._local.read(minutes)
        if self._shared is None:
            return Hour(minutes[0], local)
        try:
            shared = self._shared.read(minutes)
        except (RedisError, OSError):
            # What this host knows of itself; the dependencies tell that Redis is away.
            return Hour(minutes[0], local)
        return Hour(minutes[0], [fullest(*both) for both in zip(shared, local, strict=True)])
