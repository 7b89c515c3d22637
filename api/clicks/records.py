"""The spool format, version 1: what a worker writes for each click before it answers.

A segment is lines of UTF-8. The first is a JSON object, `{"v":1,"segment":id,"created_ms":n}`;
each other one is a JSON array, the fields of `ClickRecord` in order. A last line without its
newline is a click that was never answered: its writer died within the write.

This file is on the redirect's hot path and imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

VERSION = 1
FLAG_HEAD = 1  # a HEAD request
FLAG_PREFETCH = 2  # the browser or a previewer fetched ahead of any person

MAX_TEXT = 1024
MAX_QUERY = 2048
_MAX_BIGINT = (1 << 63) - 1
_TYPES = (int, int, int, str, str, str, str, str, int)
_NEWLINE = orjson.OPT_APPEND_NEWLINE


class SegmentError(ValueError):
    """A segment that cannot be read; the message says why."""


class ClickRecord(NamedTuple):
    """One answered visit, as the request told it. Texts may hold anything a client can send."""

    at_ms: int  # milliseconds since the Unix epoch
    link_id: int
    workspace_id: int
    address: str
    user_agent: str
    referrer: str
    language: str  # the Accept-Language header
    query: str  # what follows the question mark, still encoded
    flags: int

    def to_line(self) -> bytes:
        """The line of this click, newline included, with every text cut to its bound."""
        at_ms, link_id, workspace_id, address, user_agent, referrer, language, query, flags = self
        values = (
            at_ms,
            link_id,
            workspace_id,
            address[:MAX_TEXT],
            user_agent[:MAX_TEXT],
            referrer[:MAX_TEXT],
            language[:MAX_TEXT],
            query[:MAX_QUERY],
            flags,
        )
        try:
            return orjson.dumps(values, option=_NEWLINE)
        except orjson.JSONEncodeError:
            # Lone surrogates, which UTF-8 cannot hold.
            whole = [_encodable(value) for value in values]
            return orjson.dumps(whole, option=_NEWLINE)

    @classmethod
    def from_values(cls, values: Any) -> ClickRecord:
        """A record of a decoded line.

        Raises:
            SegmentError: it is not the array of a click.
        """
        if type(values) is not list or tuple(map(type, values)) != _TYPES:
            raise SegmentError("a line is not the array of a click")
        if min(values[:3]) < 0 or max(values[:3]) > _MAX_BIGINT or values[8] < 0:
            raise SegmentError("a line has a number out of its range")
        return cls(*values)


class Segment(NamedTuple):
    """A segment that was read."""

    id: str
    created_ms: int
    records: list[ClickRecord]
    torn: bool  # whether its last line was cut off, and left out


def header_line(segment_id: str, created_ms: int) -> bytes:
    """The first line of a segment."""
    header = {"v": VERSION, "segment": segment_id, "created_ms": created_ms}
    return orjson.dumps(header, option=_NEWLINE)


def read_segment(body: bytes) -> Segment:
    """Read the bytes of a sealed segment.

    Raises:
        SegmentError: the header or a line is not what it should be.
    """
    whole, newline, rest = body.rpartition(b"\n")
    if not newline:
        raise SegmentError("there is no header")
    header, *lines = whole.split(b"\n")
    segment_id, created_ms = _read_header(header)
    return Segment(segment_id, created_ms, list(_read_lines(lines)), torn=bool(rest))


def count_clicks(body: bytes) -> int:
    """How many clicks a segment holds, without reading it."""
    return max(body.count(b"\n") - 1, 0)


def _read_header(line: bytes) -> tuple[str, int]:
    try:
        header = orjson.loads(line)
        version, segment_id, created_ms = header["v"], header["segment"], header["created_ms"]
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise SegmentError(f"the header cannot be read: {error!r}") from None
    if version != VERSION:
        raise SegmentError(f"version {version!r} is unknown here")
    if not isinstance(segment_id, str) or not 1 <= len(segment_id) <= 64:
        raise SegmentError("the header names no segment")
    if type(created_ms) is not int:
        raise SegmentError("the header has no time")
    return segment_id, created_ms


def _read_lines(lines: list[bytes]) -> Iterator[ClickRecord]:
    try:
        # One call for all lines takes half as long as one for each.
        decoded = orjson.loads(b"[" + b",".join(lines) + b"]")
    except orjson.JSONDecodeError as error:
        raise SegmentError(f"a line is not JSON: {error}") from None
    if len(decoded) != len(lines):
        raise SegmentError("a line holds more than one value")
    return map(ClickRecord.from_values, decoded)


def _encodable(value: int | str) -> int | str:
    if isinstance(value, int):
        return value
    return value.encode("utf-8", "replace").decode()
