"""Lists of rows, and of what became of them, as they are kept: JSON, packed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import orjson
import zstandard

# A higher level costs more than it saves: what is kept is gone within days.
_LEVEL = 1


def pack(rows: Sequence[Any]) -> bytes:
    """The bytes that `unpack` makes rows of again."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(
        orjson.dumps(rows, option=orjson.OPT_UTC_Z)
    )


def unpack(packed: bytes) -> list[Any]:
    """Rows; what were times are texts."""
    return cast(list[Any], orjson.loads(zstandard.ZstdDecompressor().decompress(packed)))
