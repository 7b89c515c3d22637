"""Kutt: the list of its API, and its table `links` as CSV; Kutt itself exports no file.

Fields as of Kutt 3 (https://docs.kutt.it); those of 2 are the same.
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
    title_of,
    without_nothing,
)

PASSWORD = Loss("password", "Kutt does not tell it: the link is disabled until you set one")
DOMAIN = Loss("domain_id", "a table has no names of domains: it is taken for the default one")
LOSSES = (PASSWORD, DOMAIN)

PAGES = ("data.item",)
TARGETS = ("target",)


def rows_of(records: Iterable[Record], losses: Losses, zone: tzinfo) -> Iterator[Row]:
    """One row for each link."""
    for record in records:
        yield _row_of(record, losses, zone)


def _row_of(record: Record, losses: Losses, zone: tzinfo) -> Row:
    # Open to all, a link that asked for a password would show what it was to hide.
    hidden = _has_password(record)
    if hidden:
        losses[PASSWORD] += 1
    address = address_of(record.inner("link").get("url", "link") or record.get("link"))
    domain = record.get("domain") or address.domain
    if domain is None and record.get("domain_id") is not None:
        losses[DOMAIN] += 1
    return without_nothing(
        {
            "url": record.get(*TARGETS) or "",
            "slug": slug_of(record.get("address") or address.slug, losses),
            "domain": domain,
            "title": title_of(record.get("description"), losses),
            "expires_at": moment_of(record.get("expire_in"), losses, zone),
            "state": "disabled" if hidden or is_true(record.get("banned")) else None,
            "created_at": moment_of(record.get("created_at"), losses, zone),
            "clicks": count_of(record.get("visit_count"), losses),
        }
    )


def _has_password(record: Record) -> bool:
    """The API says whether there is one; a table holds its hash."""
    value = record.get("password")
    return value if isinstance(value, bool) else value not in (None, "false", "f", "0")
