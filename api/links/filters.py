"""Which links a list holds: the conditions of its query."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, any_, cast, func, literal, select
from sqlalchemy.dialects.postgresql import TSQUERY

from api.core.ids import dated_ms, first_id_at, id_of, is_old
from api.links.models import Link, LinkTag

_MAX_WORDS = 10
# More than links with the same date are apart.
_TIES_MS = 100
# What separates words: white space and all ASCII punctuation, as in the search column.
_SEPARATORS = re.compile(r"[\s!-/:-@\[-`{-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFilter:
    """What a list of links is narrowed to."""

    q: str | None = None
    tag: str | None = None
    domain: str | None = None
    state: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def narrows(self) -> bool:
        """Whether any link may be left out."""
        return any(value is not None for value in self.asked())

    def asked(self) -> tuple[Any, ...]:
        """The filters, each at its place; for a cursor, which belongs to them."""
        return (
            self.q,
            self.tag,
            self.domain,
            self.state,
            self.created_after,
            self.created_before,
        )


def conditions_of(
    workspace: int, which: LinkFilter, now: datetime, *, walking: bool = False
) -> list[ColumnElement[bool]]:
    """The conditions that `which` stands for, beside those of workspace and time.

    `walking`: in the form that is quickest to look at link by link.
    """
    conditions: list[ColumnElement[bool]] = []
    if which.q is not None:
        conditions.append(_matches(workspace, words_of(which.q)))
    if which.tag is not None:
        tagged = literal(which.tag, Text) == any_(Link.tags)
        conditions.append(tagged if walking else _has_tag(workspace, which.tag))
    if which.domain is not None:
        conditions.append(Link.domain == which.domain)
    if which.state is not None:
        conditions.append(_in_state(which.state, now))
    # Of links from elsewhere that are older than ids, those tell only about when they were made.
    if which.created_after is not None and is_old(which.created_after):
        conditions.append(Link.created_at >= which.created_after)
    if which.created_before is not None and is_old(which.created_before):
        conditions.append(Link.created_at < which.created_before)
    return conditions


def made_within(which: LinkFilter, key: Any = Link.id) -> Iterator[ColumnElement[bool]]:
    """The conditions on when a link was made, which are a part of the order by creation."""
    after, before = which.created_after, which.created_before
    if after is not None:
        yield key >= (id_of(dated_ms(after), 0, 0) if is_old(after) else first_id_at(after))
    if before is not None:
        # Behind its date there may be others with the same.
        old = id_of(dated_ms(before) + _TIES_MS, 0, 0) if is_old(before) else None
        yield key < (first_id_at(before) if old is None else old)


def words_of(q: str) -> list[str]:
    """The words of a search; a piece without a letter or digit is none."""
    pieces = _SEPARATORS.split(unicodedata.normalize("NFC", q))
    return [piece for piece in pieces if any(map(str.isalnum, piece))][:_MAX_WORDS]


def _has_tag(workspace: int, tag: str) -> ColumnElement[bool]:
    return (
        select(LinkTag.link_id)
        .where(
            LinkTag.workspace_id == workspace,
            LinkTag.tag == tag,
            LinkTag.link_id == Link.id,
            LinkTag.slot == Link.slot,
        )
        .exists()
    )


def _in_state(state: str, now: datetime) -> ColumnElement[bool]:
    """That a link is in a state; the same order of precedence as `state_of`."""
    started = Link.starts_at.is_(None) | (Link.starts_at <= now)
    running = Link.expires_at.is_(None) | (Link.expires_at > now)
    free = Link.max_clicks.is_(None) | (Link.uses < Link.max_clicks)
    conditions: dict[str, ColumnElement[bool]] = {
        "disabled": ~Link.enabled,
        "scheduled": Link.enabled & (Link.starts_at > now),
        "expired": Link.enabled & started & (Link.expires_at <= now),
        "exhausted": Link.enabled
        & started
        & running
        & Link.max_clicks.is_not(None)
        & (Link.uses >= Link.max_clicks),
        "active": Link.enabled & started & running & free,
    }
    return conditions[state]


def _matches(workspace: int, words: Sequence[str]) -> ColumnElement[bool]:
    """That every word begins some word of slug, title or address.

    The words hold no quote and no backslash: those separate them.
    """
    text = func.to_tsquery("simple", " & ".join(f"'{word}':*" for word in words))
    return Link.search.op("@@")(cast(f"'/{workspace}'", TSQUERY).op("&&")(text))
