"""Whether backups are still being made, where they were made once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import text

from api.core.database.slot_map import MAIN
from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, ok, warning
from api.operations.doctor.subject import Place, Subject

# One each night, and some hours for one that begins late and takes long.
_OLD = timedelta(hours=30)
_LOG = text("SELECT to_regclass('audit_events') IS NOT NULL")
_LAST = text(
    "SELECT at, clock_timestamp() - at AS age, details ->> 'verified' = 'true' AS verified"
    " FROM audit_events WHERE workspace_id IS NULL AND action = 'backup.make'"
    " ORDER BY id DESC LIMIT 1"
)


def look(subject: Subject) -> Iterator[Finding]:
    """What the audit log says of scripts/backup: backups themselves should be elsewhere."""
    directory = [place for place in subject.primaries() if place.shard == MAIN]
    yield from for_each(subject, directory, _last)


def _last(place: Place) -> Iterator[Finding]:
    with place.read() as session:
        last = session.execute(_LAST).one_or_none() if session.scalar(_LOG) else None
    if last is None:
        yield ok("last backup", "scripts/backup has made none")
        return
    hours = last.age / timedelta(hours=1)
    verified = "verified" if last.verified else "not verified"
    found = f"{hours:,.1f} hours ago, {verified}"
    if last.age > _OLD:
        advice = "Look why scripts/backup no longer runs: whatever is lost now is of that age."
        yield warning("last backup", found, advice, "scripts/backup --verify")
    else:
        yield ok("last backup", found)
