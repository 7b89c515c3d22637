"""Bitly: the bitlinks of its API (v4) in JSON, and the CSV that its website exports.

Fields as of https://dev.bitly.com/api-reference and the columns of the website's export of links.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Any

from api.transfers.sources.records import Record
from api.transfers.sources.rows import (
    Address,
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

DEEP_LINKS = Loss("deeplinks", "one target for all visitors is kept")
CLICKS = Loss("clicks", "Bitly's list of links does not tell them, its CSV does")
LOSSES = (DEEP_LINKS, CLICKS)

PAGES = ("links.item", "data.item")
TARGETS = ("long_url", "Destination URL")
_CLICKS = ("clicks", "Engagements", "total_clicks")


def rows_of(records: Iterable[Record], losses: Losses, zone: tzinfo) -> Iterator[Row]:
    """A row for each address of a bitlink: its own, and each custom back-half that it has.

    The clicks, which Bitly counts for all of them together, go to the first.
    """
    for record in records:
        row = _row_of(record, losses, zone)
        for number, address in enumerate(_addresses(record)):
            there = row | {"slug": slug_of(address.slug, losses), "domain": address.domain}
            if number:
                there["clicks"] = 0
            yield without_nothing(there)


def _row_of(record: Record, losses: Losses, zone: tzinfo) -> Row:
    if record.get("deeplinks"):
        losses[DEEP_LINKS] += 1
    told = record.get(*_CLICKS)
    if told is None and not any(map(record.has, _CLICKS)):
        losses[CLICKS] += 1
    # An archived bitlink still redirects; one that was deleted does not.
    status = str(record.get("status") or "").casefold()
    gone = is_true(record.get("is_deleted")) or status == "deleted"
    return {
        "url": record.get(*TARGETS) or "",
        "title": title_of(record.get("title"), losses),
        "tags": tags_of(_listed(record.get("tags")), losses),
        "state": "disabled" if gone else None,
        "metadata": {"archived": True} if _archived(record, status) else None,
        "created_at": moment_of(record.get("created_at", "Date created"), losses, zone),
        "clicks": count_of(told, losses),
    }


def _archived(record: Record, status: str) -> bool:
    return is_true(record.get("archived")) or status == "archived"


def _addresses(record: Record) -> list[Address]:
    """Every address at least once: what is printed somewhere goes on."""
    first = address_of(record.get("link", "id"))
    found = {first: None} if first.slug else {}
    for text in _listed(record.get("custom_bitlinks", "Custom Link")):
        custom = address_of(text)
        if custom.slug is None and custom.domain is not None:
            custom = Address(first.domain, str(text).strip())  # a bare back-half
        if custom.slug:
            found[custom] = None
    return list(found) or [first]


def _listed(value: Any) -> Iterable[Any]:
    """A list, or as CSV has it: separated by commas."""
    if isinstance(value, list):
        return value
    return re.split(r"[,;]\s*", value.strip()) if isinstance(value, str) and value else ()
