"""Visitors are counted once, and well."""

from __future__ import annotations

import random

import pytest

from api.stats.sketches import Tally, sketch_of, sketch_with

LOWEST = -(2**63)


def pack(*sketches: bytes) -> bytes:
    return b"".join(len(sketch).to_bytes(4, "big") + sketch for sketch in sketches)


def visitors_of(*sketches: bytes) -> int:
    tally = Tally()
    tally.add_packed(len(sketches), pack(*sketches))
    return tally.visitors


def test_nobody() -> None:
    assert (Tally().clicks, Tally().visitors) == (0, 0)


def test_a_visitor_counts_once() -> None:
    assert visitors_of(sketch_of([5, 5, 5])) == 1
    assert visitors_of(sketch_of([5]), sketch_of([5, 6])) == 2
    assert visitors_of(sketch_with(sketch_of([5, LOWEST]), [5, -5, 2**63 - 1])) == 4


def test_a_known_visitor_changes_nothing() -> None:
    held = sketch_of(range(50))
    assert visitors_of(sketch_with(held, [7])) == 50


def test_few_visitors_take_four_bytes_each() -> None:
    assert len(sketch_of([1])) == 12
    assert len(sketch_of(range(100))) < 500
    assert len(sketch_of(range(100_000))) < 8_500


@pytest.mark.parametrize("seed", range(10))
def test_100_000_visitors_in_many_rows_are_estimated_within_2_percent(seed: int) -> None:
    numbers = random.Random(seed)
    rows = [
        sketch_of(numbers.getrandbits(64) + LOWEST for _ in range(visits))
        for visits in (1,) * 1_000 + (99,) * 500 + (990,) * 50
    ]
    assert visitors_of(*rows) == pytest.approx(100_000, rel=0.02)


def test_tallies_merge() -> None:
    one, other = Tally(), Tally()
    one.add_packed(3, pack(sketch_of([1]), sketch_of([2])))
    other.add_packed(4, pack(sketch_of([2, 3])))
    one.add_tally(other)
    assert (one.clicks, one.visitors) == (7, 3)
    assert (other.clicks, other.visitors) == (4, 2)
