"""YOURLS: the `stats` of its API, CSV of export plugins, and its table `yourls_url` as SQL or JSON.

Fields as of YOURLS 1.10 (https://yourls.org/docs/guide/advanced/api).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import tzinfo

from api.transfers.sources.records import Record
from api.transfers.sources.rows import (
    Losses,
    Row,
    address_of,
    count_of,
    moment_of,
    slug_of,
    title_of,
    without_nothing,
)

LOSSES = ()

PAGES = ("links.*", "links.item", "result.item", "data.item")
TARGETS = ("url", "longurl", "target")
TABLE = "url"
COLUMNS = ("keyword", "url", "title", "timestamp", "ip", "clicks")


def rows_of(records: Iterable[Record], losses: Losses, zone: tzinfo) -> Iterator[Row]:
    """One row for each short URL; its dates name no zone and are those of `zone`."""
    for record in records:
        address = address_of(record.get("shorturl"))
        yield without_nothing(
            {
                "url": record.get(*TARGETS) or "",
                "slug": slug_of(address.slug or _keyword(record), losses),
                "domain": address.domain,
                "title": title_of(record.get("title"), losses),
                "created_at": moment_of(record.get("timestamp", "date", "created"), losses, zone),
                "clicks": count_of(record.get("clicks", "hits"), losses),
            }
        )


def _keyword(record: Record) -> str | None:
    """A plugin writes `/keyword/`."""
    value = record.get("keyword", "source")
    return str(value).strip("/") if value is not None else None
