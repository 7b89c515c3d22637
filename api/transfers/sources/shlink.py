"""Shlink: the list of its REST API, and the CSV that its web client exports.

Fields as of Shlink 4 (https://api-spec.shlink.io); those of 2 and 3 where they differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo

from api.transfers.sources.records import Record
from api.transfers.sources.rows import (
    Loss,
    Losses,
    Row,
    address_of,
    count_of,
    is_true,
    moment_of,
    slug_of,
    tags_of,
    title_of,
    without_nothing,
)

RULES = Loss("redirect rules", "one target for all visitors is kept")
DEVICES = Loss("deviceLongUrls", "one target for all visitors is kept")
CRAWLABLE = Loss("crawlable", "short links are not for search engines here")
LOSSES = (RULES, DEVICES, CRAWLABLE)

PAGES = ("shortUrls.data.item", "data.item")
TARGETS = ("longUrl",)


def rows_of(records: Iterable[Record], losses: Losses, zone: tzinfo) -> Iterator[Row]:
    """One row for each short URL."""
    for record in records:
        yield _row_of(record, losses, zone)


def _row_of(record: Record, losses: Losses, zone: tzinfo) -> Row:
    meta = record.inner("meta")
    address = address_of(record.get("shortUrl"))
    forward = record.get("forwardQuery")
    _count(record, losses)
    return without_nothing(
        {
            "url": record.get(*TARGETS) or "",
            "slug": slug_of(record.get("shortCode") or address.slug, losses),
            # Also of what lives on Shlink's default domain, which the API calls null.
            "domain": record.get("domain") or address.domain,
            "title": title_of(record.get("title"), losses),
            "tags": tags_of(_tags(record.get("tags")), losses),
            "starts_at": moment_of(meta.get("validSince"), losses, zone),
            "expires_at": moment_of(meta.get("validUntil"), losses, zone),
            "max_clicks": meta.get("maxVisits"),
            "forward_query": None if forward is None else is_true(forward),
            "created_at": moment_of(record.get("dateCreated", "createdAt"), losses, zone),
            "clicks": count_of(
                record.inner("visitsSummary").get("total") or record.get("visitsCount", "visits"),
                losses,
            ),
        }
    )


def _tags(value: object) -> Iterable[object]:
    """A list, or as CSV has it: `a|b`."""
    if isinstance(value, list):
        return value
    return str(value).split("|") if value else ()


def _count(record: Record, losses: Losses) -> None:
    if is_true(record.get("hasRedirectRules")):
        losses[RULES] += 1
    devices = record.get("deviceLongUrls")
    if isinstance(devices, dict) and any(devices.values()):
        losses[DEVICES] += 1
    if is_true(record.get("crawlable")):
        losses[CRAWLABLE] += 1
