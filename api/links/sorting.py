"""The order of lists, and the places in it that cursors name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from api.core.database.sessions import AnyRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def key_of(sort: str) -> Callable[[AnyRow], tuple[Any, ...]]:
    """What rows are compared by in a list that is sorted by `sort`."""
    if "updated_at" in sort:
        return lambda row: (row.updated_at, row.id)
    return lambda row: (row.id,)


def position_of(sort: str, row: AnyRow) -> list[int]:
    """The sort key as whole numbers: microseconds since 1970, and the id."""
    key = key_of(sort)(row)
    return [(key[0] - _EPOCH) // timedelta(microseconds=1), key[1]] if len(key) == 2 else [key[0]]


def position_in(numbers: Sequence[int]) -> tuple[Any, ...]:
    """The sort key that a cursor's numbers stand for."""
    if len(numbers) == 2:
        return (_EPOCH + timedelta(microseconds=numbers[0]), numbers[1])
    return tuple(numbers)
