"""The monthly partitions of raw clicks, made when they are needed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import text

from api.core.database.routing import ReadSession, WriteSession

# One maker of partitions at a time; any constant that nothing else locks.
_ADVISORY_LOCK = 0x63_6C_69_63_6B_73

_IS_PARTITION = text(
    "SELECT EXISTS (SELECT FROM pg_inherits"
    " WHERE inhparent = 'clicks'::regclass AND inhrelid = to_regclass(:name))"
)


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


def find_missing_months(session: ReadSession, months: Iterable[datetime]) -> list[datetime]:
    """Those of the months that have no partition, in order."""
    return [month for month in sorted(months) if not _has_month(session, month)]


def insert_month(session: WriteSession, month: datetime) -> None:
    """Make the partition of a month, unless another process did.

    Attached rather than made as a partition: that waits for no reader and no writer of the other
    months (PostgreSQL documentation, "ALTER TABLE ... ATTACH PARTITION").
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    if _has_month(session, month):
        return
    name = partition_name(month)
    first, end = month.isoformat(), next_month(month).isoformat()
    session.execute(text(f"CREATE TABLE {name} (LIKE clicks INCLUDING DEFAULTS)"))
    session.execute(
        text(f"ALTER TABLE clicks ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')")
    )


def _has_month(session: ReadSession, month: datetime) -> bool:
    return bool(session.scalar(_IS_PARTITION, {"name": partition_name(month)}))
