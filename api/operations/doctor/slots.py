"""The map of slots: whether every slot has one owner that is there, and what is on its way."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from api.core.database.sessions import ReadSession
from api.core.database.slot_map import MAIN
from api.core.ids import SLOTS
from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, ok, warning, wrong
from api.operations.doctor.subject import Place, Subject

_OWNERS = text(
    """
    SELECT shard, count(*) AS slots, count(*) FILTER (WHERE closed) AS closed,
        count(copy_on) AS copied, NOT EXISTS (SELECT FROM shards WHERE name = shard) AS unknown
    FROM slots GROUP BY shard ORDER BY shard
    """
)
_MOVES = text(
    "SELECT id, source, target, step, extract(epoch FROM now() - stepped_at)::int AS age"
    " FROM slot_moves WHERE step NOT IN ('done', 'aborted') ORDER BY id"
)
_MAPPED = text("SELECT slot FROM slots")
_OF_SHARD = text("SELECT slot FROM slots WHERE shard = :shard OR copy_on = :shard")
# By skips through the index of the primary key: a table of any size is asked in milliseconds.
_SLOTS_OF_LINKS = text(
    """
    WITH RECURSIVE held AS (
        (SELECT slot FROM links WHERE slot >= 0 ORDER BY slot LIMIT 1)
        UNION ALL
        SELECT (SELECT slot FROM links WHERE slot > held.slot ORDER BY slot LIMIT 1)
        FROM held WHERE held.slot IS NOT NULL
    )
    SELECT slot FROM held WHERE slot IS NOT NULL
    """
)
_STUCK_SECONDS = 3_600


def look(subject: Subject) -> Iterator[Finding]:
    """The map, the moves, and of each shard whether it has rows of others."""
    with subject.main().read() as session:
        yield from _map(session)
        yield from _moves(session)
        mapped = {row.slot for row in session.execute(_MAPPED)}
        places = subject.primaries()
        allowed = {place.name: _allowed(session, place.name, mapped) for place in places}
    if len(places) == 1 and not mapped:
        return

    def of(place: Place) -> Iterator[Finding]:
        return _foreign_rows(place, allowed[place.name])

    yield from for_each(subject, places, of)


def _allowed(session: ReadSession, shard: str, mapped: set[int]) -> set[int]:
    """The slots of which a shard may have rows. One without a row in the map is with `main`."""
    held = {row.slot for row in session.execute(_OF_SHARD, {"shard": shard})}
    return held | (set(range(SLOTS)) - mapped) if shard == MAIN else held


def _map(session: ReadSession) -> Iterator[Finding]:
    others, closed, copied, strangers = 0, 0, 0, []
    for row in session.execute(_OWNERS):
        others += row.slots if row.shard != MAIN else 0
        closed += row.closed
        copied += row.copied
        if row.unknown and row.shard != MAIN:
            strangers.append(f"{row.slots} of {row.shard}")
    if strangers:
        found = f"slots belong to shards that are not there: {', '.join(strangers)}"
        advice = "Their links answer 503: add the shard again under its name."
        yield wrong("slot map", found, advice, "scripts/shards status")
    elif closed:
        advice = "Finish the move, or nobody can write them."
        yield warning("slot map", f"{closed} closed", advice, "scripts/shards move --resume")
    elif copied:
        yield ok("slot map", f"{others} of {SLOTS} beside main; of {copied} there are copies")
    else:
        yield ok("slot map", f"{others} of {SLOTS} beside main" if others else "all with main")


def _moves(session: ReadSession) -> Iterator[Finding]:
    for row in session.execute(_MOVES):
        found = f"from {row.source} to {row.target}, {row.step} for {row.age} s"
        if row.age > _STUCK_SECONDS:
            advice = "Nobody goes on with it: resume or abort it."
            yield warning(f"move {row.id}", found, advice, "scripts/shards move --resume")
        else:
            yield ok(f"move {row.id}", found)


def _foreign_rows(place: Place, allowed: set[int]) -> Iterator[Finding]:
    """Of links alone: what else a shard keeps stands beside its link."""
    check = f"links on {place.name}"
    with place.read() as session:
        held = {row.slot for row in session.execute(_SLOTS_OF_LINKS)}
    if strangers := held - allowed:
        found = f"of {len(strangers)} slots that belong to other shards"
        advice = "See which rows these are; a move that was given up may have left them."
        yield wrong(check, found, advice, "scripts/shards verify")
    else:
        yield ok(check, f"of {len(held)} slots, all its own")
