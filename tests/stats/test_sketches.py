"""Visitors are counted once, and well."""

from __future__ import annotations

import random

import pytest

from api.stats.sketches import GROUP, WHOLE, Precision, count, merge, pack, short_hash


def test_a_visitor_counts_once() -> None:
    assert count([pack([5, 5, 5], WHOLE)]) == 1
    assert count([pack([5], WHOLE), pack([5, 6], WHOLE)]) == 2
    assert count([merge([pack([5, 7], WHOLE), pack([5, 6], GROUP)], WHOLE)]) == 3


def test_hash_is_shortened_whatever_its_sign() -> None:
    assert short_hash(-1) == 0xFFFF_FFFF
    assert short_hash(-(2**63)) == 0
    assert short_hash(2**63 - 1) == 0xFFFF_FFFF


@pytest.mark.parametrize("precision", [WHOLE, GROUP])
def test_few_visitors_are_exact_and_many_take_bounded_room(precision: Precision) -> None:
    exact = pack(range(precision.exact), precision)
    assert (count([exact]), len(exact)) == (precision.exact, 1 + 4 * precision.exact)
    many = pack(range(100_000), precision)
    assert len(many) < 1.1 * len(exact) * 2
    assert merge([many, exact], precision)[:1] == many[:1]


@pytest.mark.parametrize(("precision", "error"), [(WHOLE, 0.02), (GROUP, 0.04)])
@pytest.mark.parametrize("seed", range(10))
def test_100_000_visitors_in_many_rows_are_estimated_well(
    precision: Precision, error: float, seed: int
) -> None:
    numbers = random.Random(seed)
    rows = [
        pack([numbers.getrandbits(32) for _ in range(visits)], precision)
        for visits in (1,) * 1_000 + (99,) * 500 + (990,) * 50
    ]
    assert count([merge(rows, precision)]) == pytest.approx(100_000, rel=error)
    halves = [merge(rows[::2], precision), merge(rows[1::2], precision)]
    assert count([merge(halves, precision)]) == pytest.approx(100_000, rel=error)
