"""Kills parts of a running system under load, and proves that every answered click is counted.

The schedule of the kills comes from a seed; how the system meets them does not, so a seed makes a
run alike, not the same.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from api.clicks.folder import NEW, OPEN, READY, REJECTED
from api.clicks.queue.broker import Broker
from api.core.embedded import processes
from config.settings import Settings
from tests.chaos.balance import Balance, strike_balance
from tests.chaos.system import PrivateSystem
from tests.chaos.visitors import ANSWERED, CUT_OFF, REFUSED, Plan, read_counts, read_outcomes
from tests.running import ROOT

# About so many seconds pass between two kills of a kind.
MEAN_SECONDS = {
    "worker": 2.0,
    "consumer": 3.0,
    "master": 13.0,
    "postgres": 12.0,
    "valkey": 17.0,
    "rabbitmq": 20.0,
}
LINKS = 40
VISITORS = 16
_DRAIN_SECONDS = 120.0
_SETTLED_SECONDS = 2.0
# Longer than any part waits before it tries again: after so long nothing more will come.
_SILENT_SECONDS = 30.0
_REPORT_SECONDS = 5.0


class Schedule:
    """Which kind is killed when."""

    def __init__(self, kinds: Set[str], chance: random.Random, now: float) -> None:
        self._chance = chance
        # The first of each comes early, so that a short run has some of every kind.
        self._due = {
            kind: now + chance.uniform(0.2, 0.7) * mean
            for kind, mean in MEAN_SECONDS.items()
            if kind in kinds
        }

    def due(self, now: float) -> list[str]:
        """The kinds that are to be killed now; each has a next time afterwards."""
        found = [kind for kind, moment in self._due.items() if now >= moment]
        for kind in found:
            self._due[kind] = now + self._chance.uniform(0.5, 1.5) * MEAN_SECONDS[kind]
        return found


@dataclass
class Run:
    """One run, from the start of the system to its balance."""

    system: PrivateSystem
    seconds: float
    seed: int
    requests_per_second: float
    report: Callable[[str], None]
    kills: Counter[str] = field(default_factory=Counter)

    def __call__(self) -> Balance:
        """Start, kill, drain, compare. The system is stopped by whoever made it.

        Raises:
            EmbeddedError: a part does not start, or does not come back.
            StopRequested: a signal came first.
        """
        chance = random.Random(self.seed)
        self.report("starting the servers")
        self.system.start()
        links = self.system.create_links(LINKS)
        plan = self._plan([link["slug"] for link in links])
        visitors = self._send_visitors(plan)
        try:
            self._kill_for_a_while(chance, Path(plan.counts))
        finally:
            processes.stop(visitors, [(signal.SIGTERM, 30.0)])
        self.report("the kills are over: waiting until everything is counted")
        self.system.recover()
        engine = create_engine(self.system.postgres.url.replace("://", "+psycopg2://", 1))
        try:
            self._drain(engine, read_counts(Path(plan.counts))[ANSWERED])
            # In the order of an orderly stop: the web's last segments are still counted.
            self.system.stop_parts("master")
            self.system.stop_parts("consumer")
            return self._balance(engine, Path(plan.outcomes), [int(link["id"]) for link in links])
        finally:
            engine.dispose()

    def _plan(self, slugs: list[str]) -> Plan:
        return Plan(
            port=self.system.port,
            slugs=slugs,
            visitors=VISITORS,
            requests_per_second=self.requests_per_second,
            seed=self.seed,
            outcomes=str(self.system.folder / "outcomes"),
            counts=str(self.system.folder / "counts"),
        )

    def _send_visitors(self, plan: Plan) -> subprocess.Popen[bytes]:
        path = self.system.folder / "plan"
        plan.write(path)
        return processes.spawn(
            [sys.executable, "-m", "tests.chaos.visitors", str(path)],
            death_signal=signal.SIGKILL,
            log=self.system.folder / "visitors.log",
            folder=ROOT,
        )

    def _kill_for_a_while(self, chance: random.Random, counts: Path) -> None:
        """Kill at random moments, and start again what was killed."""
        reported = started = time.monotonic()
        schedule = Schedule({part.kind for part in self.system.parts} | {"worker"}, chance, started)
        while (now := time.monotonic()) < started + self.seconds:
            for kind in schedule.due(now):
                self.kills[kind] += self.system.kill(kind, chance)
            self.system.look_after(chance)
            if now - reported >= _REPORT_SECONDS:
                reported = now
                self.report(self._progress(now - started, read_counts(counts)))
            self.system.wait(0.05)

    def _progress(self, seconds: float, requests: Counter[str]) -> str:
        kills = ", ".join(f"{kind} {number}" for kind, number in self.kills.items())
        return (
            f"{seconds:4.0f} of {self.seconds:.0f} s: {requests[ANSWERED]:,} answered, "
            f"{requests[CUT_OFF]:,} cut off, {requests[REFUSED]:,} refused; killed: {kills}"
        )

    def _drain(self, engine: Engine, answered: int) -> None:
        """Wait until the spool is empty and no more rows come, but not for ever."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        rows, changed = -1, time.monotonic()
        while time.monotonic() < deadline:
            with engine.connect() as connection:
                found = connection.execute(text("SELECT count(*) FROM clicks")).scalar_one()
            if found != rows or self._segments_left():
                rows, changed = found, time.monotonic()
            silent = time.monotonic() - changed
            if silent > (_SETTLED_SECONDS if rows >= answered else _SILENT_SECONDS):
                return
            self.system.wait(0.2)
        self.report(f"not everything was counted within {_DRAIN_SECONDS:.0f} s")

    def _balance(self, engine: Engine, outcomes: Path, links: list[int]) -> Balance:
        with engine.connect() as connection:
            balance = strike_balance(connection, read_outcomes(outcomes), links)
        rejected = self.system.home / "spool" / REJECTED
        queued, dead = self._messages()
        balance.segments_left = self._segments_left() + queued
        balance.segments_rejected = len(list(rejected.glob("*.ready"))) + dead
        return balance

    def _messages(self) -> tuple[int, int]:
        """How many segments wait at the broker, and how many it holds as dead letters."""
        if self.system.rabbitmq is None:
            return 0, 0
        broker = Broker.of(Settings.load(self.system.environ()), self.system.rabbitmq.url)
        connection = broker.connect(60)
        try:
            channel = connection.channel()
            queued, dead = (
                channel.queue_declare(name, passive=True).method.message_count
                for name in (broker.queue, broker.dead_queue)
            )
            return queued, dead
        finally:
            connection.close()

    def _segments_left(self) -> int:
        folder = self.system.home / "spool"
        return sum(len(list(folder.glob(f"*{ending}"))) for ending in (NEW, OPEN, READY))
