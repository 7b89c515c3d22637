"""The policy alone: samples in, decisions out."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.operations.autoscaling import Autoscaler, Decision, Policy, Sample

POLICY = Policy(low=2, high=8)


class Host:
    """Workers that share a work, sampled every five seconds."""

    def __init__(self, workers: int, policy: Policy = POLICY) -> None:
        self.scaler = Autoscaler(policy)
        self.workers = workers
        self.at = 0.0
        self.generation = 1

    def sample(self, work: float, delay: float = 0.0, starved: float = 0.0) -> Decision:
        """`work`: how many workers would be busy all the time with it."""
        self.at += 5
        busy = min(work / self.workers, 1.0)
        decision = self.scaler.observe(
            Sample(
                at=self.at,
                workers=self.workers,
                busy=busy,
                delay_seconds=delay,
                starved=starved,
                generation=self.generation,
            )
        )
        if decision.wanted != self.workers:
            self.workers = decision.wanted
            self.scaler.changed(self.at, self.workers)
        return decision

    def run(self, seconds: float, work: float, **more: float) -> list[int]:
        """How many workers there were."""
        return [self.sample(work, **more).wanted for _ in range(int(seconds / 5))]


def test_more_workers_come_when_all_samples_ask_for_more() -> None:
    host = Host(2)
    assert host.run(60, 1.2) == [2] * 12
    assert host.run(10, 1.8) == [2, 2]
    decision = host.sample(1.8)
    assert decision.wanted == 3
    assert decision.reason == "90% busy, 0 ms delay: 3 are needed"


def test_one_busy_sample_changes_nothing() -> None:
    host = Host(2)
    for _ in range(20):
        assert host.sample(1.9).wanted == 2
        assert host.sample(1.0).wanted == 2


def test_a_wait_for_the_turn_brings_workers_even_where_they_seem_idle() -> None:
    host = Host(2)
    assert host.run(30, 0.6, delay=0.2)[-1] > 2


def test_after_a_change_it_waits_to_see_what_that_did() -> None:
    host = Host(2)
    counts = host.run(60, 20, delay=1.0)
    changes = [place for place in range(1, 12) if counts[place] != counts[place - 1]]
    assert counts[-1] == 8
    assert all(later - earlier >= 3 for earlier, later in itertools.pairwise(changes))


def test_fewer_workers_only_when_all_samples_of_minutes_would_do_with_fewer() -> None:
    host = Host(8)
    assert set(host.run(115, 1.0)) == {8}
    host.sample(6.4)  # one busy moment
    assert set(host.run(115, 1.0)) == {8}
    counts = host.run(600, 1.0)
    assert counts[-1] == 2
    assert counts == sorted(counts, reverse=True)
    assert all(a - b <= 2 for a, b in itertools.pairwise(counts))


def test_full_cores_are_told_and_get_no_more_workers() -> None:
    host = Host(2, replace(POLICY, cores=2))
    host.run(30, 2, delay=0.5, starved=0.6)
    decision = host.sample(2, delay=0.5, starved=0.6)
    assert (decision.wanted, decision.more_hosts) == (2, True)
    assert "the cores are taken (60% of the time)" in decision.reason


def test_other_programs_on_the_cores_do_not_keep_workers_away() -> None:
    assert Host(2, replace(POLICY, cores=4)).run(30, 2, delay=0.5, starved=0.6)[-1] == 4


def test_the_upper_bound_is_told() -> None:
    host = Host(8)
    host.run(30, 8, delay=0.5)
    decision = host.sample(8, delay=0.5)
    assert (decision.wanted, decision.more_hosts) == (8, True)


@pytest.mark.parametrize(("workers", "wanted"), [(1, 2), (20, 8)])
def test_what_is_outside_of_the_bounds_at_the_start_is_brought_inside(
    workers: int, wanted: int
) -> None:
    assert Host(workers).sample(0.1).wanted == wanted


def test_workers_started_by_hand_stay_for_a_while() -> None:
    host = Host(2)
    host.run(300, 0.2)
    host.workers = 10
    assert set(host.run(590, 0.2)) == {10}
    assert "10 were set by hand" in host.sample(0.2).reason
    assert host.run(1200, 0.2)[-1] == 2


def test_workers_ended_by_hand_do_not_come_back_for_a_while() -> None:
    host = Host(4)
    host.run(60, 2.0)
    host.workers = 1
    assert set(host.run(590, 2.0, delay=1.0)) == {1}
    assert host.run(60, 2.0, delay=1.0)[-1] > 1


def test_a_restart_is_no_hand() -> None:
    host = Host(6)
    host.run(60, 4.0)
    host.workers, host.generation = 2, 2  # as WEB_CONCURRENCY says
    assert host.sample(4.0, delay=1.0).wanted == 2
    assert host.run(30, 4.0, delay=1.0)[-1] > 2


def test_at_once_decides_by_one_sample_and_still_not_everything() -> None:
    busy = Sample(at=0, workers=2, busy=1.0, delay_seconds=0.5)
    assert Autoscaler(POLICY).aim_at_once(busy).wanted == 4
    idle = Sample(at=0, workers=8, busy=0.01, delay_seconds=0.0)
    assert Autoscaler(POLICY).aim_at_once(idle).wanted == 6


def test_load_is_what_multiplies_the_workers() -> None:
    assert POLICY.load(0.6, 0.0) == pytest.approx(1)
    assert POLICY.load(0.9, 0.0) == pytest.approx(1.5)
    assert POLICY.load(0.3, 10.0) == POLICY.growth


def test_settings_move_the_thresholds_with_the_target() -> None:
    policy = Policy.of(1, 4, 80, 0.02)
    assert policy.shrink_busy < policy.target_busy < policy.grow_busy < 1


@given(st.lists(st.floats(0, 12), min_size=1, max_size=40), st.integers(1, 12))
def test_bounds_hold_and_steady_work_does_not_flap(works: list[float], workers: int) -> None:
    host = Host(workers)
    for work in works:
        delay = 0.3 if work > host.workers else 0.0
        assert 2 <= host.run(60, work, delay=delay)[-1] <= 8
    counts = list(_settled(host, works[-1]))
    moves = [b - a for a, b in itertools.pairwise(counts) if a != b]
    assert all(move > 0 for move in moves) or all(move < 0 for move in moves)


def _settled(host: Host, work: float) -> Iterator[int]:
    for _ in range(300):
        yield host.sample(work, delay=0.3 if work > host.workers else 0.0).wanted
