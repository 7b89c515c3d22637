"""What a server uses while something is carried: its peak of memory above idle, and its CPU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bench.usage import cpu_seconds


@dataclass(frozen=True, kw_only=True)
class Use:
    """Of one process."""

    above_idle_bytes: int
    cpu_seconds: float


class Watched:
    """A process that may do many things, one after the other."""

    def __init__(self, process_id: int) -> None:
        self._folder = Path(f"/proc/{process_id}")
        self._process_id = process_id
        self._idle_bytes = self._read("VmRSS")
        self._cpu = 0.0

    def begin(self) -> None:
        """From now on."""
        # Forgets the peak so far: proc(5), clear_refs.
        (self._folder / "clear_refs").write_text("5")
        self._cpu = cpu_seconds(self._process_id)

    def used(self) -> Use:
        """Since then. Idle is what it had when it was first watched."""
        return Use(
            above_idle_bytes=self._read("VmHWM") - self._idle_bytes,
            cpu_seconds=cpu_seconds(self._process_id) - self._cpu,
        )

    def _read(self, name: str) -> int:
        text = (self._folder / "status").read_text()
        found = re.search(rf"{name}:\s+(\d+) kB", text)
        assert found is not None  # noqa: S101 - every process with memory has it
        return int(found[1]) * 1024
