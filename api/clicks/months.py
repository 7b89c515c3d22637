"""The monthly partitions of raw clicks: made when they are needed, dropped when they are old."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text

from api.core.database.routing import ReadSession, WriteSession

# One maker of partitions at a time; any constant that nothing else locks.
_ADVISORY_LOCK = 0x63_6C_69_63_6B_73
_NAME = re.compile(r"clicks_y(\d{4})m(\d{2})")
# Who waits for the last readers of a month keeps nobody else waiting, but has more to do.
_DETACH_LOCK_TIMEOUT = "3s"
# While it waits for all readers of the table, all others wait behind it.
_MOMENT = "500ms"

# A month that is on its way out takes no clicks any more.
_IS_PARTITION = text(
    "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'clicks'::regclass"
    " AND inhrelid = to_regclass(:name) AND NOT inhdetachpending)"
)
_IS_PENDING = text(
    "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'clicks'::regclass"
    " AND inhrelid = to_regclass(:name) AND inhdetachpending)"
)
_TABLES = text(
    """
    SELECT held.relname, held.reltuples, link.inhrelid IS NOT NULL AS attached
    FROM pg_class AS parent
    JOIN pg_class AS held ON held.relnamespace = parent.relnamespace AND held.relkind = 'r'
        AND held.relname ~ '^clicks_y[0-9]{4}m[0-9]{2}$'
    LEFT JOIN pg_inherits AS link ON link.inhrelid = held.oid AND link.inhparent = parent.oid
    WHERE parent.oid = 'clicks'::regclass
    ORDER BY held.relname
    """
)


@dataclass(frozen=True, slots=True)
class Month:
    """A month that has a table; not attached where an earlier purge died before it dropped it."""

    first: datetime
    attached: bool
    # As PostgreSQL estimates; None where it has not looked yet.
    clicks: int | None

    @property
    def end(self) -> datetime:
        """The beginning of the month after."""
        return next_month(self.first)


def month_of(moment: datetime) -> datetime:
    """The beginning of a moment's month, UTC."""
    moment = moment.astimezone(UTC)
    return datetime(moment.year, moment.month, 1, tzinfo=UTC)


def next_month(month: datetime) -> datetime:
    """The beginning of the month after."""
    years, index = divmod(month.month, 12)
    return month.replace(year=month.year + years, month=index + 1)


def partition_name(month: datetime) -> str:
    """`clicks_y2026m11`."""
    return f"clicks_y{month:%Y}m{month:%m}"


def find_months(session: ReadSession) -> list[Month]:
    """The months of a shard, oldest first."""
    found = []
    for name, tuples, attached in session.execute(_TABLES):
        if match := _NAME.fullmatch(name):
            first = datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC)
            found.append(Month(first, attached, None if tuples < 0 else int(tuples)))
    return found


def find_missing_months(session: ReadSession, months: Iterable[datetime]) -> list[datetime]:
    """Those of the months that have no partition, in order."""
    return [month for month in sorted(months) if not _has_month(session, month)]


def insert_month(session: WriteSession, month: datetime) -> bool:
    """Make the partition of a month, unless another process did; whether it was made.

    Attached rather than made as a partition: that waits for no reader and no writer of the other
    months (PostgreSQL documentation, "ALTER TABLE ... ATTACH PARTITION").
    """
    _lock(session)
    if _has_month(session, month):
        return False
    name = partition_name(month)
    first, end = month.isoformat(), next_month(month).isoformat()
    # A purge that died left the table behind: late clicks go on in it, until the next purge.
    if session.scalar(_IS_PENDING, {"name": name}):
        session.execute(text(f"ALTER TABLE clicks DETACH PARTITION {name} FINALIZE"))
    session.execute(text(f"CREATE TABLE IF NOT EXISTS {name} (LIKE clicks INCLUDING DEFAULTS)"))
    session.execute(
        text(f"ALTER TABLE clicks ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')")
    )
    return True


def detach_month(session: WriteSession, month: datetime) -> None:
    """Take a month out of the table, in a session whose statements are transactions of their own.

    Concurrently: it waits for those who read the month, and lets everyone else pass.

    Raises:
        sqlalchemy.exc.OperationalError: somebody reads it for longer; it is begun, and can be
            finished by another call.
        sqlalchemy.exc.ProgrammingError: another process has taken it out.
    """
    name = partition_name(month)
    how = "FINALIZE" if session.scalar(_IS_PENDING, {"name": name}) else "CONCURRENTLY"
    session.execute(text(f"SET lock_timeout = '{_DETACH_LOCK_TIMEOUT}'"))
    try:
        session.execute(text(f"ALTER TABLE clicks DETACH PARTITION {name} {how}"))
    finally:
        session.execute(text("RESET lock_timeout"))


def detach_month_at_once(session: WriteSession, month: datetime) -> None:
    """The same in a transaction, for which everyone else waits, too, but only for a moment.

    Raises:
        sqlalchemy.exc.OperationalError: somebody reads the month for longer than that.
        sqlalchemy.exc.ProgrammingError: another process has taken it out.
    """
    name = partition_name(month)
    how = "FINALIZE" if session.scalar(_IS_PENDING, {"name": name}) else ""
    session.execute(text(f"SET LOCAL lock_timeout = '{_MOMENT}'"))
    session.execute(text(f"ALTER TABLE clicks DETACH PARTITION {name} {how}"))


def drop_month(session: WriteSession, month: datetime) -> bool:
    """Drop the table of a month that was taken out; False where it is (again) in use."""
    _lock(session)
    name = {"name": partition_name(month)}
    if _has_month(session, month) or session.scalar(_IS_PENDING, name):
        return False
    session.execute(text(f"DROP TABLE IF EXISTS {name['name']}"))
    return True


def _has_month(session: ReadSession, month: datetime) -> bool:
    return bool(session.scalar(_IS_PARTITION, {"name": partition_name(month)}))


def _lock(session: WriteSession) -> None:
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
