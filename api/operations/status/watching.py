"""What one sample of this host looks at, beside what is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from api.clicks.spool import SpoolState
from api.core.database.servers import Server
from api.core.load import read_loads
from api.operations.status.dependencies import figures_of
from api.operations.status.figures import Figures


class HostWatch:
    """The web workers, the spool, the connections and the dependencies of a host."""

    def __init__(
        self,
        load_folder: Path,
        spool: Callable[[], SpoolState],
        servers: Callable[[], Iterable[Server]],
        ready: Callable[[], tuple[bool, Mapping[str, Any]]],
    ) -> None:
        self._load_folder = load_folder
        self._spool = spool
        self._servers = servers
        self._ready = ready

    def look(self) -> Figures:
        """How it is now."""
        return self._workers() | self._waiting() | self._pools() | self._answers()

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

    def _pools(self) -> Figures:
        shares = [
            state.checked_out / state.size
            for server in self._servers()
            for state in server.pools().values()
            if state.size
        ]
        return {"max.pool_share": max(shares)} if shares else {}

    def _answers(self) -> Figures:
        return figures_of(self._ready()[1]["checks"])
