"""Answers that are ready to be sent: by the bytes that ask for them, as long as they are fresh.

Beside `TargetCache`, which says what is true; this keeps only what it holds as fresh now, of links
that are plain: nothing about them is decided visit by visit.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

from api.domains.service import EVICTION_PREFIX as DOMAIN_EVICTION_PREFIX
from api.redirects.cache import EVICTION_PREFIX, Entry, Target, TargetCache
from api.redirects.pages import NO_STORE

# An answer is renewed when so much of its life is left, so that no visitor waits for it.
_LAST_PART = 0.2


class Prepared(NamedTuple):
    """The answer of a link."""

    fresh_until: float  # monotonic seconds
    renew_at: float
    ids: bytes  # of the link and its workspace, as a click is written
    head: bytes  # up to the value of X-Request-ID
    forwards_query: bool
    key: str


class PreparedAnswers:
    """By `host/slug`, as a request spells them."""

    def __init__(self, cache: TargetCache, entries: int, renew: Callable[[str], None]) -> None:
        """`renew` is asked, and must return at once, to load a key's target again."""
        self._cache = cache
        self._max_entries = entries
        self.renew = renew
        self.known: dict[bytes, Prepared] = {}
        self._spellings: defaultdict[str, set[bytes]] = defaultdict(set)

    def put(self, spelling: bytes, key: str) -> None:
        """Prepare the answer of `domain/slug` for requests of this spelling, if it is plain."""
        entry = self._cache.get(key)
        if entry is None or not _is_plain(entry.target):
            return
        answer = _prepare(key, entry)
        if answer.fresh_until <= time.monotonic():
            return
        if len(self.known) >= self._max_entries and spelling not in self.known:
            self._drop_oldest()
        self.known[spelling] = answer
        self._spellings[key].add(spelling)

    def renewed(self, key: str, entry: Entry) -> None:
        """A key's target was loaded again."""
        spellings = self._spellings.get(key)
        if not spellings:
            return
        if not _is_plain(entry.target):
            self._drop(key)
            return
        answer = _prepare(key, entry)
        for spelling in spellings:
            self.known[spelling] = answer

    def evict(self, keys: Sequence[str]) -> None:
        """Links, or the owners of domains, were changed."""
        for key in keys:
            if key.startswith(EVICTION_PREFIX):
                self._drop(key.removeprefix(EVICTION_PREFIX))
            elif key.startswith(DOMAIN_EVICTION_PREFIX):
                self.clear()

    def clear(self) -> None:
        """Forget everything; what is asked for is prepared again."""
        self.known.clear()
        self._spellings.clear()

    def _drop(self, key: str) -> None:
        for spelling in self._spellings.pop(key, ()):
            self.known.pop(spelling, None)

    def _drop_oldest(self) -> None:
        self._drop(next(iter(self.known.values())).key)


def _is_plain(target: Target) -> bool:
    return (
        target.enabled
        and not target.deleted
        and target.block is None
        and not target.limited
        and target.password_hash is None
        and target.expires_at is None
        and (target.starts_at is None or target.starts_at <= datetime.now(UTC))
        and target.url.isascii()
        and target.url.isprintable()
    )


def _prepare(key: str, entry: Entry) -> Prepared:
    target = entry.target
    # As Flask and gunicorn write it.
    status = f"{target.redirect_status} {HTTPStatus(target.redirect_status).phrase.upper()}"
    head = (
        f"HTTP/1.1 {status}\r\nServer: gunicorn\r\nConnection: keep-alive\r\n"
        f"Content-Length: 0\r\nLocation: {target.url}\r\nCache-Control: {NO_STORE}\r\n"
        "X-Content-Type-Options: nosniff\r\nX-Request-ID: "
    )
    now = time.monotonic()
    return Prepared(
        fresh_until=entry.fresh_until,
        renew_at=entry.fresh_until - (entry.fresh_until - now) * _LAST_PART,
        ids=b"%d,%d" % (target.id, target.workspace_id),
        head=head.encode("ascii"),
        forwards_query=target.forward_query,
        key=key,
    )
