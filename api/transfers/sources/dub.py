"""Dub: the links of its API in JSON, and the CSV that its dashboard exports.

Fields as of https://dub.co/docs/api-reference and the columns of the dashboard's export of links.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import tzinfo
from typing import Any

from api.core.passwords import MAX_PASSWORD_LENGTH
from api.transfers.sources.records import Record
from api.transfers.sources.rows import (
    Loss,
    Losses,
    Row,
    address_of,
    count_of,
    is_true,
    moment_of,
    note_of,
    slug_of,
    tags_of,
    title_of,
    without_nothing,
)

_ONE_TARGET = "one target for all visitors is kept"
_PREVIEW = "previews show the target's own"

PASSWORD = Loss("password", f"longer than {MAX_PASSWORD_LENGTH}: the link is disabled")
# What a link has of these is told by whether the field says anything.
_SIMPLE = {
    "ios": Loss("ios", _ONE_TARGET),
    "android": Loss("android", _ONE_TARGET),
    "geo": Loss("geo", _ONE_TARGET),
    "testVariants": Loss("testVariants", _ONE_TARGET),
    "expiredUrl": Loss("expiredUrl", "a link that is over answers 410"),
    "image": Loss("image", _PREVIEW),
    "video": Loss("video", _PREVIEW),
    "rewrite": Loss("rewrite", "links redirect, they hide nothing"),
    "doIndex": Loss("doIndex", "short links are not for search engines here"),
    "trackConversion": Loss("trackConversion", "conversions are not counted"),
    "leads": Loss("leads", "conversions are not counted"),
    "conversions": Loss("conversions", "conversions are not counted"),
    "sales": Loss("sales", "conversions are not counted"),
    "publicStats": Loss("publicStats", "statistics are for those with a key"),
    "webhookIds": Loss("webhookIds", "no counterpart"),
    "folderId": Loss("folderId", "no counterpart; tags group links"),
    "partnerId": Loss("partnerId", "no counterpart"),
}
LOSSES = (*_SIMPLE.values(), PASSWORD)
_NOTES = ("description", "comments", "externalId", "tenantId")

PAGES = ("data.item", "links.item")
TARGETS = ("url", "Destination URL")


def rows_of(records: Iterable[Record], losses: Losses, zone: tzinfo) -> Iterator[Row]:
    """One row for each link."""
    for record in records:
        yield _row_of(record, losses, zone)


def _row_of(record: Record, losses: Losses, zone: tzinfo) -> Row:
    for name, loss in _SIMPLE.items():
        if _says(record.get(name)):
            losses[loss] += 1
    address = address_of(record.get("shortLink", "Short link", "link"))
    password = record.get("password")
    hidden = password is not None and len(str(password)) > MAX_PASSWORD_LENGTH
    if hidden:
        losses[PASSWORD] += 1
    off = hidden or record.get("disabledAt") is not None
    return without_nothing(
        {
            "url": record.get(*TARGETS) or "",
            "slug": slug_of(record.get("key") or address.slug, losses),
            "domain": record.get("domain") or address.domain,
            "title": title_of(record.get("title"), losses),
            "tags": tags_of(_tags(record.get("tags")), losses),
            "expires_at": moment_of(record.get("expiresAt"), losses, zone),
            "password": None if hidden or password is None else str(password),
            # Dub adds what visitors send to the target.
            "forward_query": True,
            "state": "disabled" if off else None,
            "metadata": _metadata(record, losses) or None,
            "created_at": moment_of(record.get("createdAt"), losses, zone),
            "clicks": count_of(record.get("clicks"), losses),
            "last_clicked_at": moment_of(record.get("lastClicked"), losses, zone),
        }
    )


def _metadata(record: Record, losses: Losses) -> dict[str, Any]:
    notes = {name: note_of(record.get(name), losses) for name in _NOTES}
    kept: dict[str, Any] = {name: note for name, note in notes.items() if note is not None}
    # An archived link still redirects.
    return kept | {"archived": True} if is_true(record.get("archived")) else kept


def _tags(value: Any) -> Iterable[Any]:
    """Objects with a name, names, or as CSV has them: separated by commas."""
    if isinstance(value, list):
        return (tag.get("name") if isinstance(tag, Mapping) else tag for tag in value)
    return str(value).split(",") if value else ()


def _says(value: Any) -> bool:
    """Whether a field of a link says more than its default."""
    if isinstance(value, str):
        return value.strip().casefold() not in ("", "false", "0", "null")
    return bool(value)
