"""The clicks of a count split by the values of one dimension, in bytes.

Nothing where no click tells; else MessagePack: `{value: [clicks, visitors]}`, with empty visitors
where they are those of the whole count. The number of values is bounded: of more than
`2 * MAX_VALUES` the `MAX_VALUES` with the most clicks stay, and the rest becomes one, `OTHER`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import msgspec

from api.stats import sketches
from api.stats.sketches import GROUP

OTHER = "(other)"
MAX_VALUES = 100
MAX_VALUE_LENGTH = 200

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, tuple[int, bytes]]).decode


Split = dict[str, list[int]]


def split(column: Sequence[str], visitors: list[int]) -> Split:
    """The visitors of each value: of a click the value, and the visitor's short hash."""
    first = column[0]
    if column.count(first) == len(column):
        return {bounded(first): visitors}
    parts: defaultdict[str, list[int]] = defaultdict(list)
    for value, visitor in zip(column, visitors, strict=True):
        parts[value].append(visitor)
    if not all(map(str.isascii, parts)) or max(map(len, parts)) > MAX_VALUE_LENGTH:
        # Two values may become one.
        return join({bounded(value): part} for value, part in parts.items())
    return parts


def join(splits: Iterable[Split]) -> Split:
    """Several splits as one."""
    whole: defaultdict[str, list[int]] = defaultdict(list)
    for parts in splits:
        for value, part in parts.items():
            whole[value] += part
    return whole


def pack(parts: Split) -> bytes | None:
    """The bytes of a split."""
    if len(parts) > 2 * MAX_VALUES:
        kept = _most({value: len(part) for value, part in parts.items()})
        parts = join({value if value in kept else OTHER: part} for value, part in parts.items())
    if len(parts) == 1:
        ((value, visitors),) = parts.items()
        return _whole(value, len(visitors))
    return _encode(
        {value: (len(part), sketches.pack(part, GROUP)) for value, part in parts.items()}
    )


def values(clicks: int, visitors: bytes, packed: bytes | None) -> Iterator[tuple[str, int, bytes]]:
    """Value, clicks and visitors of each group of a count with these clicks and visitors."""
    if packed is None:
        yield "", clicks, visitors
        return
    for value, (count, own) in _decode(packed).items():
        yield value, count, own or visitors


def merge(parts: Iterable[tuple[int, bytes, bytes | None]]) -> bytes | None:
    """The bytes of several counts together; each with its clicks and visitors."""
    clicks: defaultdict[str, int] = defaultdict(int)
    visitors: defaultdict[str, list[bytes]] = defaultdict(list)
    for whole, everybody, packed in parts:
        for value, count, own in values(whole, everybody, packed):
            clicks[value] += count
            visitors[value].append(own)
    if len(clicks) > 2 * MAX_VALUES:
        kept = _most(clicks)
        for value in [value for value in clicks if value not in kept]:
            clicks[OTHER] += clicks.pop(value)
            visitors[OTHER] += visitors.pop(value)
    if len(clicks) == 1:
        ((value, count),) = clicks.items()
        return _whole(value, count)
    return _encode(
        {value: (count, sketches.merge(visitors[value], GROUP)) for value, count in clicks.items()}
    )


def bounded(value: str) -> str:
    """`value` within its length and without what UTF-8 cannot hold, whatever a visitor sent."""
    if value.isascii() and len(value) <= MAX_VALUE_LENGTH:
        return value
    return value[:MAX_VALUE_LENGTH].encode("utf-8", "replace").decode()


@lru_cache(50_000)
def _whole(value: str, clicks: int) -> bytes | None:
    return _encode({value: (clicks, b"")}) if value else None


def _most(clicks: dict[str, int]) -> set[str]:
    ranked = sorted(clicks, key=lambda value: (-clicks[value], value))
    return {*ranked[:MAX_VALUES], OTHER}
