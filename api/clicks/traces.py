"""Which requests' clicks are in a segment, for those that trace it: in room that its header keeps.

A segment is only ever appended to, and most of its clicks come when its header is written already.
So the header of a spool that traces holds blanks, which are nothing in JSON, and the contexts of
sampled requests are written over them as they come: `"traces":["00-…-01",…]`, no more than
`MOST_LINKS`. Who does not know the key reads past it.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from api.core.tracing.context import TraceContext, read_traceparent
from api.core.tracing.spans import MOST_LINKS

_KEY = b',"traces":['
_END = b"}\n"
_ROOM_BYTES = len(_KEY) + len(b"]") + MOST_LINKS * len(b'"00-%032x-%016x-01",' % (0, 0))


def with_room(header: bytes) -> tuple[bytes, int]:
    """A header line with room for contexts, and where that begins."""
    place = len(header) - len(_END)
    return header[:place] + b" " * _ROOM_BYTES + _END, place


def written(contexts: Sequence[TraceContext]) -> bytes:
    """What is written there of at most `MOST_LINKS` contexts."""
    quoted = (b'"%b"' % context.to_traceparent().encode() for context in contexts)
    return _KEY + b",".join(quoted) + b"]"


def read_traces(body: bytes) -> list[TraceContext]:
    """The contexts in the header of a segment; none where it is no header."""
    end = body.find(b"\n")
    if body.find(_KEY, 0, max(end, 0)) < 0:
        return []
    try:
        values = orjson.loads(body[:end])["traces"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []
    found = map(read_traceparent, values[:MOST_LINKS] if isinstance(values, list) else ())
    return [context for context in found if context is not None]
