"""The months of raw clicks: those that are needed are there, those that are past are gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from api.clicks.months import Month, find_months, month_of, next_month, partition_name
from api.clicks.partitions import MONTHS_AHEAD
from api.core.database.sessions import ReadSession
from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, ok, unknown, warning
from api.operations.doctor.subject import Place, Subject

_IS_THERE = text("SELECT to_regclass(:name) IS NOT NULL")
_DEFAULT = text(
    "SELECT partdefid::regclass::text FROM pg_partitioned_table"
    " WHERE partrelid = 'clicks'::regclass AND partdefid <> 0"
)
_RETENTIONS = text(
    "SELECT count(*) FILTER (WHERE click_retention_days IS NULL) AS without,"
    " max(click_retention_days) AS most"
    " FROM workspaces"
)
# A purge runs once a day; a month that somebody reads is dropped the day after.
_PATIENCE = timedelta(days=3)


def look(subject: Subject) -> Iterator[Finding]:
    """Each shard."""
    with subject.main().read() as session:
        if not session.scalar(_IS_THERE, {"name": "workspaces"}):
            yield unknown("months", "there is no schema yet")
            return
        cutoff = _cutoff(session, subject.settings.click_retention_days)
    yield from for_each(subject, subject.primaries(), lambda place: _months(place, cutoff))


def _cutoff(session: ReadSession, default_days: int) -> datetime | None:
    """Before this no workspace keeps anything; None where one keeps all."""
    found = session.execute(_RETENTIONS).one()
    # Clicks of no workspace that is known fall under the default as well.
    falls_back = found.without or found.most is None
    if falls_back and not default_days:
        return None
    days = max(found.most or 0, default_days if falls_back else 0)
    return datetime.now(UTC) - timedelta(days=days) - _PATIENCE


def _months(place: Place, cutoff: datetime | None) -> Iterator[Finding]:
    check = f"months on {place.name}"
    with place.read() as session:
        if not session.scalar(_IS_THERE, {"name": "clicks"}):
            yield unknown(check, "there is no schema yet")
            return
        there = find_months(session)
        default = session.scalar(_DEFAULT)
        strays = default and session.scalar(text(f"SELECT EXISTS (SELECT FROM {default})"))
    if missing := _missing(there):
        found = f"missing: {', '.join(partition_name(month) for month in missing)}"
        advice = "The consumer makes them each hour: is it running? Until then clicks wait for it."
        yield warning(check, found, advice, "scripts/consume-clicks")
    elif strays:
        advice = "Somebody made that partition; move its rows to their months, and drop it."
        yield warning(check, f"{default} has clicks that purges do not see", advice)
    elif old := [month for month in there if not month.attached or _is_past(month, cutoff)]:
        found = f"past their retention: {', '.join(partition_name(it.first) for it in old)}"
        advice = "The consumer drops them once a day, where nobody reads them."
        yield warning(check, found, advice, "scripts/purge")
    else:
        names = [partition_name(month.first) for month in there]
        yield ok(check, f"{len(names)}, {names[0]} to {names[-1]}")


def _missing(there: list[Month]) -> list[datetime]:
    known = {month.first for month in there if month.attached}
    wanted = [month_of(datetime.now(UTC))]
    for _ in range(MONTHS_AHEAD):
        wanted.append(next_month(wanted[-1]))
    return [month for month in wanted if month not in known]


def _is_past(month: Month, cutoff: datetime | None) -> bool:
    return cutoff is not None and month.end <= cutoff
