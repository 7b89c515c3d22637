"""What one sample of this host looks at, beside what is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from api.clicks.spool import SpoolState
from api.core.heartbeat import read_beats
from api.core.load import read_loads
from api.operations.status.dependencies import figures_of
from api.operations.status.figures import Figures

# By the kind that their signs of life name.
PROCESSES = {"clicks": "click consumer", "worker": "job worker"}
_MISSED_SECONDS = 300.0


class ProcessWatch:
    """The processes of a host that serve no HTTP, by the signs of life that they give."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._seen: dict[str, float] = {}

    def look(self) -> Figures:
        """Which of them go on. One that was there is missed for a while; then it is elsewhere."""
        now, up = time.monotonic(), {}
        for kind, name in PROCESSES.items():
            beats = read_beats(self._home, kind)
            if beats:
                self._seen[kind] = now
                up[name] = any(not beat.is_late for beat in beats)
            elif now - self._seen.get(kind, -_MISSED_SECONDS) < _MISSED_SECONDS:
                up[name] = False
        return figures_of(up)


class HostWatch:
    """The web workers, the spool, the connections and the dependencies of a host."""

    def __init__(
        self,
        load_folder: Path,
        spool: Callable[[], SpoolState],
        pools: Callable[[], Figures],
        ready: Callable[[], tuple[bool, Mapping[str, Any]]],
        processes: ProcessWatch,
    ) -> None:
        self._load_folder = load_folder
        self._spool = spool
        self._pools = pools
        self._ready = ready
        self._processes = processes

    def look(self) -> Figures:
        """How it is now."""
        own = self._workers() | self._waiting() | self._pools() | self._answers()
        return own | self._processes.look()

    def count(self) -> Figures:
        """What this host has counted in files of its own."""
        return {"clicks_lost": float(self._spool().lost_clicks)}

    def look_once(self) -> Figures:
        """What is told once a minute, to add up over hosts alone."""
        return {"hosts": 1.0}

    def _workers(self) -> Figures:
        loads, now_ns = read_loads(self._load_folder), time.monotonic_ns()
        if not loads:
            return {}
        busy = [load.busy_ratio for load in loads]
        return {
            "busy": sum(busy) / len(busy),
            "busy_samples": 1.0,
            "workers": float(len(loads)),
            "max.busy": max(busy),
            "max.loop_delay_seconds": max(load.delay_seconds(now_ns) for load in loads),
        }

    def _waiting(self) -> Figures:
        state = self._spool()
        return {
            "max.spool_bytes": float(state.bytes),
            "max.oldest_click_seconds": state.oldest_age_seconds,
        }

    def _answers(self) -> Figures:
        checks = self._ready()[1]["checks"]
        return figures_of({name: check["status"] == "up" for name, check in checks.items()})
