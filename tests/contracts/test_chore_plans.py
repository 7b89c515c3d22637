"""No chore reads a table from one end to the other: neither in the consumer, nor in a script."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from api.audit.service import AuditLog
from api.clicks.erasure import finish_erasures
from api.clicks.housekeeping import forget_segments
from api.clicks.partitions import make_months_ahead
from api.clicks.retention import Cutoffs, Purged, Retention
from api.core.idempotency import IdempotencyKeys
from api.core.ids import HOME_SLOT
from api.identity.users import UserService
from api.links.targets import count_about, stream_targets
from api.oauth import grant_store, revocation_store
from api.redirects.warming import MostClicked
from api.stats.service import Compaction
from api.targets.known import KnownRules
from api.titles import store as title_store
from api.transfers.imports import work_store as import_store
from api.transfers.imports.service import purge_imports
from tests.contracts.filling import NOW
from tests.contracts.plans import Filled, Judge
from tests.factories.clicks import a_click, a_segment

# What is done in batches sorts no more than one.
BATCH = 10_000


def compact(filled: Filled) -> None:
    with filled.db.write(0) as session:
        session.execute(
            text(
                "INSERT INTO click_count_progress SELECT :home, max(part) - 5000 FROM click_counts"
                " ON CONFLICT (slot) DO UPDATE SET compacted_to = excluded.compacted_to"
            ),
            {"home": HOME_SLOT},
        )
    Compaction(filled.db, min_age_seconds=0)()


def purge(filled: Filled, *, dry_run: bool) -> None:
    identity = filled.large.owner.identity
    cutoffs = Cutoffs({filled.large.owner.workspace_id: NOW - timedelta(days=45)}, None, None)
    purged = Purged()
    list(Retention(filled.db, identity, 0).purge(cutoffs, purged, batch=1_000, dry_run=dry_run))
    assert purged.deleted.total() > 1_000


def read_most_clicked(filled: Filled) -> None:
    links = MostClicked(filled.db, 2_000, 500)
    while links.read() is not None:
        links.advance()


def count(filled: Filled) -> None:
    page = filled.large.owner.get("/links?limit=20").json or {}
    links = [int(link["id"]) for link in page["data"]]
    clicks = [a_click(link, workspace_id=filled.large.owner.workspace_id) for link in links * 20]
    filled.large.count(a_segment(clicks))


def forget(filled: Filled) -> None:
    with filled.db.write_directory() as session:
        grant_store.delete_ended(session)
        revocation_store.delete_ended(session)
        revocation_store.find_revocations(session, NOW)


def offer_titles(filled: Filled) -> None:
    with filled.db.write(0) as session:
        assert len(title_store.update_offers(session, 120.0, 1_000)) == 1_000


def offer_imports(filled: Filled) -> None:
    with filled.db.write_directory() as session:
        assert import_store.update_offers(session, 0, 10)


def first(pages: Iterator[Any], number: int = 3) -> None:
    list(itertools.islice(pages, number))


def service(filled: Filled, kind: type) -> Any:
    return filled.app.extensions["signpost.services"][kind]


CHORES: dict[str, Callable[[Filled], Any]] = {
    "clicks counted": count,
    "counts put together": compact,
    "old segment ids deleted": lambda it: forget_segments(it.db),
    "old idempotency keys deleted": lambda it: IdempotencyKeys(it.db, timedelta(hours=12)).purge(),
    "erased clicks deleted": lambda it: list(finish_erasures(it.db)),
    "old imports deleted": lambda it: purge_imports(it.db),
    "imports offered": offer_imports,
    "months made ahead": lambda it: make_months_ahead(it.db),
    "clicks past their retention counted": partial(purge, dry_run=True),
    "clicks past their retention deleted": partial(purge, dry_run=False),
    "retentions read": lambda it: list(it.large.owner.identity.stream_click_retentions()),
    "most clicked links read": read_most_clicked,
    "targets of all links read": lambda it: first(stream_targets(it.db, None)),
    "targets of links read": lambda it: first(stream_targets(it.db, it.large.owner.workspace_id)),
    "links counted": lambda it: count_about(it.db),
    "titles offered": offer_titles,
    "block rules learned": lambda it: service(it, KnownRules).look(),
    "what has ended deleted": forget,
    "users listed": lambda it: service(it, UserService).find_users(0, 50),
    "audit events listed": lambda it: first(
        service(it, AuditLog).stream_all(after=None, before=None), 100
    ),
}


@pytest.mark.parametrize("chore", CHORES)
def test_chores_read_indexes(filled: Filled, chore: str) -> None:
    judge = Judge()
    with judge.judging(chore, sort=BATCH):
        CHORES[chore](filled)
    judge.verdict()
    # But for clicks, which are counted or deleted link by link.
    assert judge.seen <= 25 or chore.startswith("clicks past")


def test_each_foreign_key_can_be_followed_back_by_an_index(filled: Filled) -> None:
    """Whoever deletes a row looks for those that refer to it."""
    query = text(
        """
        SELECT conrelid::regclass::text, conname FROM pg_constraint AS held
        WHERE contype = 'f' AND conparentid = 0 AND NOT EXISTS (
            SELECT FROM pg_index WHERE indrelid = conrelid
                AND coalesce(pg_get_expr(indpred, indrelid), 'IS NOT NULL') ~ 'IS NOT NULL'
                AND (indkey::smallint[])[0:array_length(conkey, 1) - 1] @> conkey
        )
        """
    )
    with filled.db.read_directory() as session:
        assert session.execute(query).all() == []
