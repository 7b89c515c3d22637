"""When to run more processes, and when fewer: a policy that knows samples and nothing else.

It has no clock, reads no file and sends no signal, so the same class decides about the workers of
a host, about the processes of a Procfile host and, in a simulation, about hundreds of hosts.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace

_SATURATED = 0.95  # beyond this nobody sees how much more is wanted: only that it waits
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How it was at one moment."""

    at: float  # seconds of any clock that only goes forward
    workers: int  # that there are to be
    busy: float  # mean share of the time in which a worker is not idle
    delay_seconds: float  # mean wait of a request for its turn
    starved: float = 0.0  # mean share of the time in which a worker lacks a core
    generation: Hashable = None  # another one: it all began anew, with a number of workers as set


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers there should be, and why."""

    now: int
    wanted: int
    reason: str
    more_hosts: bool = False  # more workers are needed than can help here


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is good, and how fast to go there."""

    low: int
    high: int
    cores: int = 0  # that the workers share; 0: each comes with cores of its own
    target_busy: float = 0.6
    grow_busy: float = 0.75
    shrink_busy: float = 0.5
    delay_seconds: float = 0.05
    # Beyond this, more workers than cores would only wait for the same ones. Fewer than cores lack
    # them because of other programs, from which one more worker gets a share, too.
    starved: float = 0.5
    grow_after_seconds: float = 10.0
    shrink_after_seconds: float = 120.0
    grow_again_seconds: float = 15.0
    shrink_again_seconds: float = 60.0
    hands_off_seconds: float = 600.0
    growth: float = 2.0  # at most so many times as many at once
    shrinkage: float = 0.25  # at most this share at once

    @classmethod
    def of(
        cls, low: int, high: int, busy_percent: int, delay_seconds: float, cores: int = 0
    ) -> Policy:
        """Around a target: more at a quarter beyond it, fewer at a sixth below."""
        target = busy_percent / 100
        return cls(
            low=low,
            high=high,
            cores=cores,
            target_busy=target,
            grow_busy=min(target * 1.25, _SATURATED),
            shrink_busy=target * 5 / 6,
            delay_seconds=delay_seconds,
        )

    def load(self, busy: float, delay_seconds: float) -> float:
        """How much there is to do: at 1 it is as it should be, at 2 twice the workers are wanted.
        What Kubernetes is told."""
        return max(busy / self.target_busy, min(delay_seconds / self.delay_seconds, self.growth))

    def aim(self, sample: Sample) -> Decision:
        """What this sample asks for by itself, had it been so for long enough."""
        workers, busy = sample.workers, sample.busy
        need = max(math.ceil(workers * busy / self.target_busy - _ROUNDING), 1)
        state = f"{busy:.0%} busy, {sample.delay_seconds * 1000:.0f} ms delay"
        if busy >= self.grow_busy or sample.delay_seconds >= self.delay_seconds:
            return self._more(sample, max(need, workers + 1), state)
        idle = busy <= self.shrink_busy and sample.delay_seconds < self.delay_seconds / 2
        if need < workers and idle:
            return self._bounded(workers, need, f"{state}: {need} would do")
        return self._bounded(workers, workers, state)

    def _more(self, sample: Sample, need: int, state: str) -> Decision:
        workers = sample.workers
        most = math.ceil(workers * self.growth)
        if sample.busy >= _SATURATED and sample.delay_seconds >= self.delay_seconds:
            need = most
        need = min(need, most)
        full = 0 < self.cores <= workers and sample.starved >= self.starved
        if full and workers >= self.low:
            reason = f"{state}, but the cores are taken ({sample.starved:.0%} of the time)"
            return Decision(workers, workers, reason, more_hosts=True)
        return self._bounded(workers, need, f"{state}: {need} are needed")

    def _bounded(self, workers: int, wanted: int, reason: str) -> Decision:
        if wanted < self.low:
            return Decision(workers, self.low, f"{reason}, at least {self.low}")
        if wanted > self.high:
            return Decision(workers, self.high, f"{reason}, at most {self.high}", more_hosts=True)
        return Decision(workers, wanted, reason)


@dataclass(frozen=True, slots=True)
class _Hand:
    """Somebody else changed the number of workers."""

    at: float
    before: int
    after: int


class Autoscaler:
    """Follows samples, and decides after it has seen enough of them.

    More workers come when all samples of some seconds ask for more, fewer when all of some minutes
    would do with fewer; after each change it waits to see what that did. What somebody changes by
    hand is not taken back for a while.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._seen: list[tuple[Sample, Decision]] = []
        self._since = 0.0  # what was seen earlier says nothing of so many workers
        self._changed: float | None = None
        self._hand: _Hand | None = None

    def observe(self, sample: Sample) -> Decision:
        """Take a sample, and decide."""
        self._notice(sample)
        aim = self.policy.aim(sample)
        kept = sample.at - self.policy.shrink_after_seconds - _ROUNDING
        self._seen = [seen for seen in self._seen if seen[0].at >= kept] + [(sample, aim)]
        return self._respect_hand(sample, self._decide(sample, aim))

    def aim_at_once(self, sample: Sample) -> Decision:
        """Decide by one sample alone; still not everything at once."""
        self.observe(sample)
        aim = self.policy.aim(sample)
        return replace(aim, wanted=max(aim.wanted, self._fewest(sample.workers)))

    def changed(self, at: float, workers: int) -> None:
        """Remember what was done about the last decision."""
        last, aim = self._seen[-1]
        self._seen[-1] = (replace(last, workers=workers), aim)
        self._since = self._changed = at

    def _notice(self, sample: Sample) -> None:
        """What happened since the last sample that we did not do."""
        last = self._seen[-1][0] if self._seen else None
        if last is None or last.generation != sample.generation:
            self._seen, self._hand, self._changed = [], None, None
            self._since = sample.at
        elif last.workers != sample.workers:
            self._hand = _Hand(sample.at, last.workers, sample.workers)
            self._since = self._changed = sample.at

    def _decide(self, sample: Sample, aim: Decision) -> Decision:
        policy, now, workers = self.policy, sample.at, sample.workers
        if not policy.low <= workers <= policy.high:
            bound = min(max(workers, policy.low), policy.high)
            return Decision(workers, bound, f"outside of {policy.low} to {policy.high}")
        if aim.wanted == workers:
            return aim
        growing = aim.wanted > workers
        asked = self._asked(
            now, policy.grow_after_seconds if growing else policy.shrink_after_seconds
        )
        # The mildest of the samples: one that disagrees is enough to wait.
        wanted = (min if growing else max)(asked, default=workers)
        if wanted == workers or (wanted > workers) != growing:
            return self._hold(aim, "not for long enough yet")
        if not self._rested(
            now, policy.grow_again_seconds if growing else policy.shrink_again_seconds
        ):
            return self._hold(aim, "the last change is too fresh")
        if not growing:
            wanted = max(wanted, self._fewest(workers))
        return Decision(workers, wanted, aim.reason, aim.more_hosts)

    def _asked(self, now: float, seconds: float) -> list[int]:
        """What each sample of so many seconds asks for; nothing when there were not so many."""
        first = now - seconds
        if self._since > first + _ROUNDING:
            return []
        return [aim.wanted for sample, aim in self._seen if sample.at >= first - _ROUNDING]

    def _fewest(self, workers: int) -> int:
        return workers - max(int(workers * self.policy.shrinkage), 1)

    def _rested(self, now: float, seconds: float) -> bool:
        return self._changed is None or now - self._changed >= seconds - _ROUNDING

    def _hold(self, aim: Decision, why: str) -> Decision:
        return Decision(aim.now, aim.now, f"{aim.reason}; {why}", aim.more_hosts)

    def _respect_hand(self, sample: Sample, decision: Decision) -> Decision:
        hand = self._hand
        if hand is None or sample.at - hand.at >= self.policy.hands_off_seconds:
            return decision
        wanted = decision.wanted
        if hand.after > hand.before:
            wanted = max(wanted, min(hand.after, decision.now))
        else:
            wanted = min(wanted, max(hand.after, decision.now))
        if wanted == decision.wanted:
            return decision
        reason = f"{decision.reason}; {hand.after} were set by hand"
        return Decision(decision.now, wanted, reason, decision.more_hosts)
