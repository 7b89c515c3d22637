"""The exports of one process: how many they may be, and who of their clients stands still.

Each holds a connection to every shard, from the pools that requests use. So they are fewer than
these have, and a client that takes nothing does not keep its connections.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass

from api.core.errors import TooManyRequests, Unavailable
from api.transfers.exports.stream import ExportStream

_RETRY_AFTER_SECONDS = 10
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on the exports of a process."""

    exports: int
    exports_per_workspace: int
    stuck_seconds: float


class Places:
    """Who exports at present, and what all did that are over."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._streams: dict[ExportStream, int] = {}
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None
        self._ended = False
        # By kind and outcome, and by kind.
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.rows: Counter[str] = Counter()
        self.size_bytes: Counter[str] = Counter()

    def add(self, workspace: int, stream: ExportStream) -> None:
        """Count a stream until it is forgotten.

        Raises:
            TooManyRequests: the workspace has as many as it may.
            Unavailable: the process has as many as it may, or is about to stop.
        """
        with self._lock:
            self._check_room(workspace)
            self._streams[stream] = workspace
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="exports", daemon=True)
                self._watcher.start()

    def forget(self, stream: ExportStream) -> None:
        """A stream is over."""
        with self._lock:
            if self._streams.pop(stream, None) is None:
                return
            self.outcomes[stream.name, stream.outcome] += 1
            self.rows[stream.name] += stream.rows
            self.size_bytes[stream.name] += stream.size_bytes

    def running(self) -> list[ExportStream]:
        """Those that are not over."""
        with self._lock:
            return list(self._streams)

    def end(self) -> None:
        """Have all stop, and begin no other: the process is about to stop."""
        with self._lock:
            self._ended = True
        for stream in self.running():
            stream.end()

    def _check_room(self, workspace: int) -> None:
        if self._ended:
            raise Unavailable("This process is about to stop; try again.")
        taken = list(self._streams.values())
        if taken.count(workspace) >= self._limits.exports_per_workspace:
            raise TooManyRequests(
                "The workspace has as many exports at a time as it may.", _RETRY_AFTER_SECONDS
            )
        if len(taken) >= self._limits.exports:
            raise Unavailable("There are as many exports as there may be.", _RETRY_AFTER_SECONDS)

    def _watch(self) -> None:
        """Cut off who stands still, for as long as there is anybody."""
        while True:
            with self._lock:
                if not self._streams:
                    self._watcher = None
                    return
            # One that is told to stop and is not taken holds up the end of the process.
            patience = _LOOK_SECONDS if self._ended else self._limits.stuck_seconds
            for stream in self.running():
                if stream.stuck_seconds() > patience:
                    stream.cut()
            time.sleep(_LOOK_SECONDS)
