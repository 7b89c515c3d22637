"""The rows that an import takes: what their fields may hold, and what was lost on the way there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

Row = dict[str, Any]

_MAX_TITLE = 500
_MAX_TAG = 50
_MAX_TAGS = 20
_MAX_TEXT = 900
_MAX_CLICKS = (1 << 53) - 1
# As people's spreadsheets write them, and services that have no ISO 8601.
_FORMATS = ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%b %d, %Y")


class Loss(NamedTuple):
    """Something that a service has of a link and that is not kept."""

    field: str
    why: str


Losses = Counter[Loss]

NO_DATE = Loss("dates", "not understood as a date")
LONG_TITLE = Loss("title", f"cut to {_MAX_TITLE} characters")
LONG_TAG = Loss("tags", f"cut to {_MAX_TAG} characters")
MANY_TAGS = Loss("tags", f"more than {_MAX_TAGS} at one link")
LONG_TEXT = Loss("metadata", f"cut to {_MAX_TEXT} characters")
NO_NUMBER = Loss("clicks", "no number")
NO_SLUG = Loss("slug", "there is none: one is generated")
GENERAL_LOSSES = (NO_DATE, NO_NUMBER, NO_SLUG, LONG_TITLE, LONG_TAG, MANY_TAGS, LONG_TEXT)


class Address(NamedTuple):
    """Where a short link lives; None is not told."""

    domain: str | None
    slug: str | None


def address_of(short_url: Any) -> Address:
    """Domain and slug of a short URL, with or without a scheme; without a port."""
    if not isinstance(short_url, str) or not short_url.strip():
        return Address(None, None)
    text = short_url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host = parts.hostname
    except ValueError:
        return Address(None, None)
    return Address(host, unquote(parts.path).strip("/") or None)


def title_of(value: Any, losses: Losses) -> str | None:
    """A title as it may be."""
    text = _text(value)
    if text is not None and len(text) > _MAX_TITLE:
        losses[LONG_TITLE] += 1
        text = text[:_MAX_TITLE].rstrip()
    return text


def note_of(value: Any, losses: Losses) -> str | None:
    """A text for the metadata."""
    text = _text(value)
    if text is not None and len(text) > _MAX_TEXT:
        losses[LONG_TEXT] += 1
        text = text[:_MAX_TEXT].rstrip()
    return text


def tags_of(values: Iterable[Any], losses: Losses) -> list[str]:
    """Tags as they may be, each once."""
    tags: dict[str, None] = {}
    for value in values:
        tag = _text(value)
        if tag is None:
            continue
        if len(tag) > _MAX_TAG:
            losses[LONG_TAG] += 1
            tag = tag[:_MAX_TAG].rstrip()
        if tag not in tags and len(tags) == _MAX_TAGS:
            losses[MANY_TAGS] += 1
            break
        tags[tag] = None
    return list(tags)


def moment_of(value: Any, losses: Losses, zone: tzinfo = UTC) -> str | None:
    """A moment in RFC 3339; one that names no zone is one of `zone`."""
    if value is None or value == "":
        return None
    moment = _parsed(value)
    if moment is None or not 1970 < moment.year < 9999:
        losses[NO_DATE] += 1
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def slug_of(value: Any, losses: Losses) -> Any:
    """A slug, whatever it is; without one a link cannot be reached as before."""
    if value is None or value == "":
        losses[NO_SLUG] += 1
        return None
    return value


def count_of(value: Any, losses: Losses) -> int | None:
    """A number of clicks; None where nothing says one."""
    if value is None or value == "":
        return None
    try:
        count = int(str(value).replace(",", ""))
    except ValueError:
        count = -1
    if count < 0:
        losses[NO_NUMBER] += 1
        return None
    return min(count, _MAX_CLICKS)


def is_true(value: Any) -> bool:
    """Whether a field says yes, as JSON, CSV or a database's dump do."""
    if isinstance(value, str):
        return value.strip().casefold() in ("true", "t", "yes", "y", "1")
    return bool(value)


def without_nothing(row: Row) -> Row:
    """The row without fields that say nothing: an absent field is the default."""
    return {name: value for name, value in row.items() if value is not None and value != []}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    return str(value).replace("\0", "").strip() or None


def _parsed(value: Any) -> datetime | None:
    try:
        if isinstance(value, int | float) or (isinstance(value, str) and value.isdigit()):
            return datetime.fromtimestamp(float(value), UTC)
        return datetime.fromisoformat(re.sub(r" UTC\Z", "+00:00", str(value).strip()))
    except (OverflowError, OSError):
        return None
    except ValueError:
        return _read_by_format(str(value).strip())


def _read_by_format(text: str) -> datetime | None:
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - the caller adds the zone
        except ValueError:
            continue
    return None
