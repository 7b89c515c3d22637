"""Where the time of a consumer goes, stage by stage; see `bench.timed_consumer`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from api.core.embedded.errors import EmbeddedError
from bench.backlog import Backlog
from bench.usage import run_measured
from tests.chaos.system import PrivateSystem
from tests.running import ROOT


@dataclass(frozen=True, kw_only=True)
class StageFigures:
    """Seconds of each stage, on the clock and of the consumer's CPU, and its calls."""

    clicks: int
    seconds: float
    cpu_seconds: float
    stages: dict[str, tuple[float, float, int]]

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """For people; the longest first."""
        per_1000 = 1_000_000 / self.clicks
        ranked = sorted(self.stages.items(), key=lambda item: -item[1][0])
        rows = [
            (
                name,
                f"{seconds * per_1000:8.2f} ms, of CPU {cpu * per_1000:8.2f} ms, {calls:7,} calls",
            )
            for name, (seconds, cpu, calls) in ranked
            if seconds * per_1000 >= 0.005
        ]
        whole = f"{self.seconds * per_1000:8.2f} ms, of CPU {self.cpu_seconds * per_1000:8.2f} ms"
        return [("for each 1,000 clicks", whole), *rows]


def measure_stages(
    system: PrivateSystem, backlog: Backlog, progress: Callable[[int], None]
) -> StageFigures:
    """Let a consumer whose stages are timed count a backlog.

    Raises:
        EmbeddedError: it failed.
    """
    for done in backlog.write(system.home / "spool"):
        progress(done)
    run = run_measured([sys.executable, "-m", "bench.timed_consumer"], system.environ(), ROOT)
    if run.status != 0:
        raise EmbeddedError("the timed consumer failed")
    figures = json.loads(run.output)
    if figures["clicks"] != backlog.clicks:
        raise EmbeddedError(f"the timed consumer counted {figures['clicks']:,} clicks")
    return StageFigures(**figures)
