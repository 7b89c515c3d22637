"""Visitors, counted once however often they come, in bytes that can be merged over anything.

Up to a bound they are a set: 32 bits of each visitor's hash. Past it they are a HyperLogLog sketch
of those numbers (Apache DataSketches, HLL_4), which takes no more than twice the room of that set.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from datasketches import hll_sketch, hll_union, tgt_hll_type

_KIND = tgt_hll_type.HLL_4
_SET = b"\0"
_SKETCH = b"\1"
_IS_SKETCH = 1
_WIDTH = 4
_MASK = 0xFFFF_FFFF
_ONE = struct.Struct("<BI").pack


class Precision(NamedTuple):
    """How exactly visitors are kept."""

    lg_k: int  # of the sketch
    exact: int  # up to how many they are a set


# The standard error of merged sketches, measured at 100,000 visitors: 1.7 % at 12, 1.2 % at 13,
# 0.8 % at 14 and 0.5 % at 15. Three of these are to be under 2 %.
WHOLE = Precision(15, 2048)
# Of a group, as many of these make a row: three standard errors are under 4 %.
GROUP = Precision(13, 512)


def short_hash(visitor: int) -> int:
    """The 32 bits of a visitor's hash that are kept here.

    Among a million visitors of one day about a hundred share them with another: an error of
    0.01 %, and one reason more why nobody can be told from them.
    """
    return visitor & _MASK


def pack(visitors: Collection[int], precision: Precision) -> bytes:
    """The bytes of some short hashes."""
    # Most rows are of one visitor.
    return _ONE(0, *visitors) if len(visitors) == 1 else _packed(set(visitors), precision)


def merge(parts: Sequence[bytes], precision: Precision) -> bytes:
    """The bytes of the visitors of all parts together."""
    if are_exact(*parts):
        return _packed(_united(parts), precision)
    return _SKETCH + bytes(_union(parts, precision.lg_k).get_result(_KIND).serialize_compact())


def count(parts: Sequence[bytes]) -> int:
    """How many different visitors some parts have together, as estimated."""
    if len(parts) == 1:
        (part,) = parts
        if part[0] != _IS_SKETCH:
            return (len(part) - 1) // _WIDTH
        return round(float(hll_sketch.deserialize(part[1:]).get_estimate()))
    if are_exact(*parts):
        return len(_united(parts))
    return round(float(_union(parts, WHOLE.lg_k).get_estimate()))


def are_exact(*parts: bytes) -> bool:
    """Whether all parts are sets."""
    return all(part[0] != _IS_SKETCH for part in parts)


def _packed(distinct: set[int], precision: Precision) -> bytes:
    if len(distinct) <= precision.exact:
        return _SET + struct.pack(f"<{len(distinct)}I", *distinct)
    sketch = hll_sketch(precision.lg_k, _KIND)
    update = sketch.update
    for visitor in distinct:
        update(visitor)
    return _SKETCH + bytes(sketch.serialize_compact())


def _united(parts: Iterable[bytes]) -> set[int]:
    return set().union(*map(_members, parts))


def _members(part: bytes) -> tuple[int, ...]:
    return struct.unpack_from(f"<{(len(part) - 1) // _WIDTH}I", part, 1)


def _union(parts: Iterable[bytes], lg_k: int) -> hll_union:
    union = hll_union(lg_k)
    seen: set[int] = set()
    for part in parts:
        if part[0] == _IS_SKETCH:
            union.update(hll_sketch.deserialize(part[1:]))
        else:
            seen.update(_members(part))
    update = union.update
    for visitor in seen:
        update(visitor)
    return union
