"""Queries on revocations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.oauth.models import Revocation

_REVOCATION = (
    Revocation.kind,
    Revocation.subject,
    Revocation.before,
    Revocation.ends_at,
    Revocation.recorded_at,
)


def upsert_revocation(
    session: WriteSession, kind: str, subject: str, margin: timedelta, life: timedelta
) -> AnyRow:
    """Revoke what was issued until now and a margin; `life` is how long such a thing lives."""
    now = func.clock_timestamp()
    statement = insert(Revocation).values(
        kind=kind, subject=subject, before=now + margin, ends_at=now + margin + life
    )
    new = statement.excluded
    statement = statement.on_conflict_do_update(
        index_elements=["kind", "subject"],
        set_={
            "before": func.greatest(Revocation.before, new.before),
            "ends_at": func.greatest(Revocation.ends_at, new.ends_at),
            "recorded_at": func.clock_timestamp(),
        },
    )
    return session.execute(statement.returning(*_REVOCATION)).one()


def find_revocations(session: ReadSession, since: datetime | None) -> Sequence[AnyRow]:
    """Those that are of use, or of these the ones written since a moment."""
    statement = select(*_REVOCATION).where(Revocation.ends_at > func.now())
    if since is not None:
        statement = statement.where(Revocation.recorded_at > since)
    return session.execute(statement).all()


def get_moment(
    session: ReadSession, subjects: Iterable[tuple[str, str]]
) -> tuple[datetime, datetime | None]:
    """The directory's time, and until when tokens of any of these subjects are revoked."""
    before = (
        select(func.max(Revocation.before))
        .where(tuple_(Revocation.kind, Revocation.subject).in_(list(subjects)))
        .scalar_subquery()
    )
    now, until = session.execute(select(func.clock_timestamp(), before)).one()
    return now, until


def delete_ended(session: WriteSession) -> int:
    """Delete those that are of no use any more."""
    return session.execute(delete(Revocation).where(Revocation.ends_at <= func.now())).rowcount
