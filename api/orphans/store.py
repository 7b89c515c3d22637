"""Queries on `orphan_visits`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import ARRAY, BigInteger, ColumnElement, DateTime, bindparam, func, select, text

from api.core.database.routing import ReadSession, WriteSession
from api.core.ids import slot_of_host
from api.orphans.models import OrphanVisitCount as Count

# Arrays, as a statement for each row takes ten times as long.
_UPSERT = text(
    """
    INSERT INTO orphan_visits AS held (slot, workspace_id, host, kind, quarter, visits)
    SELECT * FROM unnest(
        CAST(:slot AS smallint[]), CAST(:workspace_id AS bigint[]), CAST(:host AS text[]),
        CAST(:kind AS smallint[]), CAST(:quarter AS timestamptz[]), CAST(:visits AS bigint[])
    )
    ON CONFLICT (slot, workspace_id, host, kind, quarter)
        DO UPDATE SET visits = held.visits + excluded.visits
    """
)
# Whose visits everybody may see: those that belong to nobody.
NOBODY = 0


class CountKey(NamedTuple):
    """The primary key of a count, in its order."""

    slot: int
    workspace_id: int
    host: str
    kind: int
    quarter: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which visits: from `start` up to `end`, of a kind, at a host (None: all)."""

    start: datetime
    end: datetime
    kind: int | None
    host: str | None


def upsert_counts(session: WriteSession, counts: Mapping[CountKey, int]) -> None:
    """Add visits to their rows, of which there must be some.

    In the order of the key: two writers who take the locks in one order never wait for each other
    in a circle.
    """
    keys = sorted(counts)
    columns = dict(zip(CountKey._fields, map(list, zip(*keys, strict=True)), strict=True))
    session.execute(_UPSERT, columns | {"visits": [counts[key] for key in keys]})


def hold_snapshot(session: ReadSession) -> None:
    """Let all queries of this transaction, which must be the first thing it does, see one state."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


def find_buckets(
    session: ReadSession, workspace: int, selection: Selection, starts: Sequence[datetime]
) -> Sequence[tuple[int, int]]:
    """Bucket (1 for the first of `starts`) and visits, of the buckets that have any."""
    boundaries = bindparam("boundaries", list(starts), type_=ARRAY(DateTime(timezone=True)))
    bucket: ColumnElement[int] = func.width_bucket(Count.quarter, boundaries)
    query = (
        select(bucket.label("bucket"), func.sum(Count.visits).cast(BigInteger))
        .where(*_chosen(session, workspace, selection))
        .group_by("bucket")
    )
    return [(number, visits) for number, visits in session.execute(query)]


def find_groups(
    session: ReadSession, workspace: int, selection: Selection, limit: int
) -> Sequence[tuple[int, str, int]]:
    """Kind, host and visits, the most visits first."""
    visits = func.sum(Count.visits).cast(BigInteger)
    query = (
        select(Count.kind, Count.host, visits)
        .where(*_chosen(session, workspace, selection))
        .group_by(Count.kind, Count.host)
        .order_by(visits.desc(), Count.kind, Count.host)
        .limit(limit)
    )
    return [(kind, host, count) for kind, host, count in session.execute(query)]


def _chosen(
    session: ReadSession, workspace: int, selection: Selection
) -> list[ColumnElement[bool]]:
    chosen = [
        *session.owned(Count.slot),
        Count.workspace_id.in_((workspace, NOBODY)),
        Count.quarter >= selection.start.astimezone(UTC),
        Count.quarter < selection.end.astimezone(UTC),
    ]
    if selection.kind is not None:
        chosen.append(Count.kind == selection.kind)
    if selection.host is not None:
        chosen += [Count.slot == slot_of_host(selection.host), Count.host == selection.host]
    return chosen
