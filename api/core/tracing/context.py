"""Which span of which trace a request belongs to, as it travels (W3C Trace Context, level 1)."""

from __future__ import annotations

import re
from typing import NamedTuple

# Version, trace id, span id and flags (section 3.2); a later version may append to them.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1  # section 3.2.2.5.1.1


class TraceContext(NamedTuple):
    """A span, for those that continue its trace elsewhere."""

    trace_id: int
    span_id: int
    sampled: bool

    def to_traceparent(self) -> str:
        """The value of a `traceparent` header."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.sampled:02x}"


def read_traceparent(value: object) -> TraceContext | None:
    """What a `traceparent` header says; None where it is none, which begins a trace anew."""
    match = _TRACEPARENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    context = TraceContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
    return context if context.trace_id and context.span_id else None
