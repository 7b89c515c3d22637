"""The spool format, version 2: what a worker writes for each click before it answers.

A segment is lines of UTF-8. The first is a JSON object, `{"v":2,"segment":id,"created_ms":n}`;
each other one is a JSON array: the nine fields of `ClickRecord` in order, or the five of
`OrphanRecord`, which version 1 did not have. A last line without its newline is a click that was
never answered: its writer died within the write.

This file is on the redirect's hot path and imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import orjson

VERSION = 2
_VERSIONS = (1, 2)
FLAG_HEAD = 1  # a HEAD request
FLAG_PREFETCH = 2  # the browser or a previewer fetched ahead of any person

# Why no link answered a visit. The numbers are stored: append, never renumber.
ORPHAN_UNKNOWN = 1  # there is no such slug
ORPHAN_GONE = 2  # the link has expired, is used up, was deleted or may not lead there
ORPHAN_INACTIVE = 3  # the link is disabled, or has not started
ORPHAN_ROOT = 4  # "/", which is no link's

MAX_TEXT = 1024
MAX_QUERY = 2048
_MAX_BIGINT = (1 << 63) - 1
_MAX_SMALLINT = (1 << 15) - 1
MAX_HOST = 253
_TYPES = (int, int, int, str, str, str, str, str, int)
_ORPHAN_TYPES = (int, int, str, int, int)
_ORPHAN_FIELDS = len(_ORPHAN_TYPES)
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
    def from_lines(cls, lines: Sequence[Any]) -> list[ClickRecord]:
        """The records of decoded lines; looked at by columns, which takes a third of the time.

        Raises:
            SegmentError: one is not the array of a click.
        """
        if not lines:
            return []
        if set(map(type, lines)) != {list} or set(map(len, lines)) != {len(_TYPES)}:
            raise SegmentError("a line is not the array of a click")
        columns = list(zip(*lines, strict=True))
        if any(
            set(map(type, column)) != {kind} for column, kind in zip(columns, _TYPES, strict=True)
        ):
            raise SegmentError("a line is not the array of a click")
        *numbers, flags = columns[0], columns[1], columns[2], columns[8]
        if (
            any(min(column) < 0 or max(column) > _MAX_BIGINT for column in numbers)
            or min(flags) < 0
        ):
            raise SegmentError("a line has a number out of its range")
        return list(map(cls._make, lines))


class OrphanRecord(NamedTuple):
    """Visits of one moment that no link answered: how many, of what kind and at which host."""

    at_ms: int  # milliseconds since the Unix epoch
    kind: int  # one of the constants above
    host: str  # empty for a host that nobody has claimed
    workspace_id: int  # 0 where they belong to nobody
    visits: int

    def to_line(self) -> bytes:
        """The line of these visits, newline included."""
        return orjson.dumps(tuple(self), option=_NEWLINE)

    @classmethod
    def from_values(cls, values: Any) -> OrphanRecord:
        """A record of a decoded line.

        Raises:
            SegmentError: it is not the array of visits.
        """
        if type(values) is not list or tuple(map(type, values)) != _ORPHAN_TYPES:
            raise SegmentError("a line is not the array of a click, nor of visits without a link")
        at_ms, kind, host, workspace_id, visits = values
        if min(at_ms, workspace_id) < 0 or max(at_ms, workspace_id, visits) > _MAX_BIGINT:
            raise SegmentError("a line has a number out of its range")
        if not 0 < kind <= _MAX_SMALLINT or visits < 1:
            raise SegmentError("a line has a number out of its range")
        if len(host) > MAX_HOST or "\0" in host:
            raise SegmentError("a line has a host that is none")
        return cls(*values)


class Segment(NamedTuple):
    """A segment that was read."""

    id: str
    created_ms: int
    records: list[ClickRecord]
    torn: bool  # whether its last line was cut off, and left out
    orphans: Sequence[OrphanRecord] = ()


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
    version, segment_id, created_ms = _read_header(header)
    decoded = _read_lines(lines)
    orphans: list[OrphanRecord] = []
    if version > 1 and _may_have_orphans(decoded):
        orphans = [OrphanRecord.from_values(line) for line in decoded if _is_orphan(line)]
        decoded = [line for line in decoded if not _is_orphan(line)]
    records = ClickRecord.from_lines(decoded)
    return Segment(segment_id, created_ms, records, bool(rest), orphans)


def count_clicks(body: bytes) -> int:
    """About how many clicks a segment holds, without reading it: lines that count visits without
    a link are counted with them, of which there are few."""
    return max(body.count(b"\n") - 1, 0)


def _read_header(line: bytes) -> tuple[int, str, int]:
    try:
        header = orjson.loads(line)
        version, segment_id, created_ms = header["v"], header["segment"], header["created_ms"]
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise SegmentError(f"the header cannot be read: {error!r}") from None
    if type(version) is not int or version not in _VERSIONS:
        raise SegmentError(f"version {version!r} is unknown here")
    if not isinstance(segment_id, str) or not 1 <= len(segment_id) <= 64:
        raise SegmentError("the header names no segment")
    if type(created_ms) is not int:
        raise SegmentError("the header has no time")
    return version, segment_id, created_ms


def _read_lines(lines: list[bytes]) -> list[Any]:
    try:
        # One call for all lines takes half as long as one for each.
        decoded = orjson.loads(b"[" + b",".join(lines) + b"]")
    except orjson.JSONDecodeError as error:
        raise SegmentError(f"a line is not JSON: {error}") from None
    if len(decoded) != len(lines):
        raise SegmentError("a line holds more than one value")
    return cast(list[Any], decoded)


def _may_have_orphans(decoded: list[Any]) -> bool:
    try:
        return _ORPHAN_FIELDS in map(len, decoded)  # a tenth of the time of asking line by line
    except TypeError:
        return True  # a line is a number or the like, and will be refused


def _is_orphan(line: Any) -> bool:
    return type(line) is list and len(line) == _ORPHAN_FIELDS


def _encodable(value: int | str) -> int | str:
    if isinstance(value, int):
        return value
    return value.encode("utf-8", "replace").decode()
