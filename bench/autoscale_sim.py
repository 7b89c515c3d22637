#!/usr/bin/env python3
"""Play a day of traffic with a spike through the policy of scripts/autoscale, for 2 to 200 hosts.

The day, the hosts and their noise are made up and always the same; what decides about the number of
hosts is the class that decides about the workers of a host, with times that fit machines that need
a while to start. Prints what came of it, and draws it.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
sys.path.insert(0, str(ROOT))
import _bootstrap  # noqa: E402
import click  # noqa: E402

from api.operations.autoscaling import Autoscaler, Policy, Sample  # noqa: E402
from bench.chart import OTHER, OWN  # noqa: E402
from bench.timeline import Line, Panel, draw  # noqa: E402

DAY_SECONDS = 86_400
STEP_SECONDS = 15
BOOT_SECONDS = 90
SPIKE_AT, SPIKE_RISE, SPIKE_LENGTH = 14 * 3600, 120, 1500
_HOST_PER_SECOND = 5_000.0  # requests that a host answers when it is busy all the time
_SERVICE_SECONDS = 0.0002
_PATIENCE_SECONDS = 10.0  # who waits longer gives up
_NIGHT, _NOON, _SPIKE = 0.006, 0.30, 3.0  # of what all hosts can do; the last times the day's
_RED = "#b3402a"

POLICY = Policy(
    low=2,
    high=200,
    delay_seconds=0.05,
    grow_after_seconds=30,
    grow_again_seconds=BOOT_SECONDS + 30,
    shrink_after_seconds=600,
    shrink_again_seconds=300,
)


@dataclass(frozen=True, slots=True)
class Moment:
    """How it was at one time of the day."""

    at: float
    requests_per_second: float
    hosts: int  # that there are to be, those that start included
    serving: int
    perfect: float  # what somebody would run who knows the future and pays for fractions
    busy: float
    delay_seconds: float


@dataclass(slots=True)
class _Hosts:
    """Those that serve, and those that start; and the requests that wait."""

    serving: int
    starting: list[float] = field(default_factory=list)
    waiting: float = 0.0

    @property
    def count(self) -> int:
        return self.serving + len(self.starting)

    def bring_to(self, count: int, now: float) -> None:
        self.starting += [now + BOOT_SECONDS] * (count - self.count)
        surplus = self.count - count
        if surplus > 0:
            kept = max(len(self.starting) - surplus, 0)
            self.serving -= surplus - (len(self.starting) - kept)
            self.starting = self.starting[:kept]

    def serve(self, now: float, arriving: float) -> tuple[float, float]:
        """How busy they are, and how long a request waits."""
        self.serving += sum(at <= now for at in self.starting)
        self.starting = [at for at in self.starting if at > now]
        able = self.serving * _HOST_PER_SECOND
        offered = arriving * STEP_SECONDS + self.waiting
        done = min(offered, able * STEP_SECONDS)
        self.waiting = min(offered - done, able * _PATIENCE_SECONDS)
        busy = done / (able * STEP_SECONDS)
        queueing = _SERVICE_SECONDS * busy / max(1 - busy, 0.01)
        return busy, queueing + self.waiting / able


def traffic(at: float, policy: Policy, chance: random.Random) -> float:
    """Requests a second at a time of the day: little at night, a spike in the afternoon."""
    able = policy.high * _HOST_PER_SECOND * policy.target_busy
    height = (1 - math.cos(2 * math.pi * (at / DAY_SECONDS - 1 / 6))) / 2
    day = able * (_NIGHT + (_NOON - _NIGHT) * height)
    since = at - SPIKE_AT
    rise = min(max(since / SPIKE_RISE, 0.0), 1.0)
    fall = math.exp(-max(since - SPIKE_LENGTH, 0.0) / 600)
    return day * (1 + (_SPIKE - 1) * rise * fall) * chance.uniform(0.92, 1.08)


def _perfect(arriving: float, policy: Policy) -> float:
    wanted = arriving / (_HOST_PER_SECOND * policy.target_busy)
    return min(max(wanted, policy.low), policy.high)


def play(policy: Policy = POLICY, seed: int = 1) -> list[Moment]:
    """The day, moment by moment."""
    chance = random.Random(seed)  # nosec B311 # noqa: S311 - the same day each time
    autoscaler = Autoscaler(policy)
    hosts = _Hosts(serving=math.ceil(_perfect(traffic(0, policy, chance), policy)))
    moments = []
    for at in range(0, DAY_SECONDS, STEP_SECONDS):
        arriving = traffic(at, policy, chance)
        busy, delay = hosts.serve(at, arriving)
        perfect = _perfect(arriving, policy)
        moments.append(Moment(at, arriving, hosts.count, hosts.serving, perfect, busy, delay))
        decision = autoscaler.observe(
            Sample(at=at, workers=hosts.count, busy=busy, delay_seconds=delay)
        )
        if decision.wanted != hosts.count:
            hosts.bring_to(decision.wanted, at)
            autoscaler.changed(at, decision.wanted)
    return moments


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a day."""

    fewest: int
    most: int
    changes: int
    turns: int  # from more to fewer, or from fewer to more
    slow_minutes: float  # in which requests waited longer than they should
    spike_minutes: float  # from the begin of the spike until they did no more
    cost: float  # host hours, as a multiple of the perfect ones

    @classmethod
    def of(cls, moments: list[Moment], policy: Policy) -> Outcome:
        pairs = itertools.pairwise(moments)
        steps = [after.hosts - before.hosts for before, after in pairs]
        moves = [step for step in steps if step]
        slow = [one.at for one in moments if one.delay_seconds > policy.delay_seconds]
        spike = [at for at in slow if SPIKE_AT <= at <= SPIKE_AT + SPIKE_LENGTH]
        return cls(
            fewest=min(one.hosts for one in moments),
            most=max(one.hosts for one in moments),
            changes=len(moves),
            turns=sum(a * b < 0 for a, b in itertools.pairwise(moves)),
            slow_minutes=len(slow) * STEP_SECONDS / 60,
            spike_minutes=(max(spike) + STEP_SECONDS - SPIKE_AT) / 60 if spike else 0.0,
            cost=sum(one.hosts for one in moments) / sum(one.perfect for one in moments),
        )


def picture(moments: list[Moment], policy: Policy, outcome: Outcome) -> str:
    """The day as SVG."""
    waits = [min(one.delay_seconds, 1.0) * 1000 for one in moments]
    busy = [one.busy * 100 for one in moments]
    panels = [
        Panel(
            title="Requests a second",
            unit="k",
            lines=[
                Line(
                    label="traffic",
                    values=[one.requests_per_second / 1000 for one in moments],
                    colour=OTHER,
                    filled=True,
                )
            ],
        ),
        Panel(
            title="Hosts",
            unit="",
            lines=[
                Line(label="perfect", values=[one.perfect for one in moments], colour=OTHER),
                Line(
                    label="the policy's",
                    values=[float(one.hosts) for one in moments],
                    colour=OWN,
                    steps=True,
                ),
            ],
        ),
        Panel(
            title="How busy they are",
            unit="%",
            lines=[Line(label="busy", values=busy, colour=OWN)],
        ),
        Panel(
            title="Wait of a request",
            unit="ms",
            lines=[Line(label="up to 1 s shown", values=waits, colour=_RED)],
        ),
    ]
    return draw(
        f"A day of traffic, and {policy.low} to {policy.high} hosts",
        f"Simulated. A spike of {_SPIKE:g} times the day's within {SPIKE_RISE // 60} minutes, and "
        f"hosts that start in {BOOT_SECONDS} s; it costs {outcome.cost:.2f} of perfect scaling.",
        [one.at / 3600 for one in moments],
        "h",
        panels,
    )


@click.command(help=__doc__)
@click.option("--low", type=click.IntRange(1), default=POLICY.low, show_default=True)
@click.option("--high", type=click.IntRange(1), default=POLICY.high, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--picture", "path", type=click.Path(path_type=Path), help="Where to draw it (SVG).")
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as JSON.")
def main(low: int, high: int, seed: int, path: Path | None, as_json: bool) -> None:
    policy = replace(POLICY, low=low, high=high)
    moments = play(policy, seed)
    outcome = Outcome.of(moments, policy)
    if path is not None:
        path.write_text(picture(moments, policy, outcome), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
        return
    click.echo(
        f"{outcome.fewest} to {outcome.most} hosts, {outcome.changes} changes, {outcome.turns} "
        f"turns; {outcome.cost:.2f} times the host hours of perfect scaling\n"
        f"requests waited too long in {outcome.slow_minutes:.1f} minutes of the day; "
        f"the spike was served after {outcome.spike_minutes:.1f} minutes"
    )


if __name__ == "__main__":
    _bootstrap.run(main)
