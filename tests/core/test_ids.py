"""Ids carry their slot and their moment, and grow."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.core import ids
from api.core.ids import (
    EPOCH,
    MAX_ID,
    SLOTS,
    IdGenerator,
    first_id_at,
    slot_of,
    slot_of_id,
    time_of_id,
)

SLOT = st.integers(0, SLOTS - 1)
MOMENTS = st.timedeltas(timedelta(0), timedelta(days=365 * 69)).map(lambda since: EPOCH + since)


@given(SLOT)
def test_id_carries_its_slot_and_its_moment(slot: int) -> None:
    identifier = IdGenerator().next_id(slot)
    assert 0 < identifier <= MAX_ID
    assert slot_of_id(identifier) == slot
    assert abs(time_of_id(identifier) - datetime.now(UTC)) < timedelta(seconds=5)


@given(st.lists(SLOT, min_size=2, max_size=50))
def test_ids_differ_and_grow_within_a_slot(slots: list[int]) -> None:
    generator = IdGenerator()
    made = [generator.next_id(slot) for slot in slots]
    assert len(set(made)) == len(made)
    for slot in slots:
        own = [identifier for identifier in made if slot_of_id(identifier) == slot]
        assert own == sorted(own)


@settings(max_examples=20)
@given(st.lists(st.integers(-50, 50), min_size=1, max_size=20))
def test_ids_grow_though_the_clock_jumps(jumps: list[int]) -> None:
    generator = IdGenerator()
    now = 1_800_000_000.0
    made = []
    with pytest.MonkeyPatch.context() as patched:
        for jump in jumps:
            now += jump / 1000
            moment = now
            patched.setattr(ids.time, "time", lambda moment=moment: moment)
            made += [generator.next_id(7) for _ in range(3000)]
    assert made == sorted(set(made))


def test_threads_never_get_the_same_id() -> None:
    generator = IdGenerator()
    made: list[int] = []

    def run() -> None:
        made.extend([generator.next_id(3) for _ in range(2000)])

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000


@given(st.text(max_size=20), st.text(max_size=40))
def test_slot_is_one_of_the_slots(domain: str, slug: str) -> None:
    assert 0 <= slot_of(domain, slug) < SLOTS


@settings(max_examples=200)
@given(MOMENTS, st.integers(-3, 3))
def test_first_id_divides_ids_as_the_moment_divides_times(moment: datetime, steps: int) -> None:
    first = first_id_at(moment)
    near = max(first + steps * (1 << 22), 0)
    assert (near >= first) == (time_of_id(near) >= moment)


def test_first_id_of_any_moment_is_an_id() -> None:
    assert first_id_at(datetime(1, 1, 1, tzinfo=UTC)) == 0
    assert first_id_at(EPOCH) == 0
    assert first_id_at(datetime(9999, 12, 31, tzinfo=UTC)) == MAX_ID
