"""What goes with slots that move, but is not in rows of theirs.

Which segments were counted for them; from when on raw clicks are complete; how far counts were
compacted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from api.core.database.locks import REWRITING_COUNTS
from api.core.database.moving.peers import Peer
from api.core.database.moving.ranges import multirange
from api.core.database.sessions import SlotRange
from api.core.ids import HOME_SLOT

_ROWS_AT_ONCE = 5_000

# What a shard has counted is true wherever it is written down, so it may be told the other shard
# at any time, in any order, and need not be taken back when a move is given up.
_FIND_SEGMENTS = """
    SELECT slot, segment_id, ingested_at,
        (covered * CAST(:moved AS int4multirange))::text AS covered
    FROM ingested_segments
    WHERE covered && CAST(:moved AS int4multirange){since}
    ORDER BY slot, segment_id
"""
_MERGE_SEGMENTS = text(
    """
    INSERT INTO ingested_segments AS held (slot, segment_id, ingested_at, covered)
    SELECT slot, segment_id, ingested_at, covered::int4multirange
    FROM unnest(CAST(:slot AS smallint[]), CAST(:segment_id AS text[]),
        CAST(:ingested_at AS timestamptz[]), CAST(:covered AS text[]))
        AS new (slot, segment_id, ingested_at, covered)
    ON CONFLICT (slot, segment_id) DO UPDATE
    SET covered = held.covered + excluded.covered,
        ingested_at = greatest(held.ingested_at, excluded.ingested_at)
    WHERE NOT held.covered @> excluded.covered
    """
)
# A transaction that is not seen yet writes the time at which it began.
_UNSEEN_SINCE = text(
    "SELECT least(now(), min(xact_start)) - interval '1 minute' FROM pg_stat_activity"
    " WHERE datname = current_database()"
)
_HORIZONS = text("SELECT workspace_id, complete_from FROM click_horizons WHERE slot = :home")
_MERGE_HORIZONS = text(
    """
    INSERT INTO click_horizons AS held (slot, workspace_id, complete_from)
    SELECT :home, workspace_id, complete_from
    FROM unnest(CAST(:workspaces AS bigint[]), CAST(:moments AS timestamptz[]))
        AS new (workspace_id, complete_from)
    ON CONFLICT (slot, workspace_id) DO UPDATE SET complete_from = excluded.complete_from
    WHERE held.complete_from < excluded.complete_from
    """
)
_PROGRESS = text("SELECT compacted_to FROM click_count_progress WHERE slot = :home")
_LOWER_PROGRESS = text(
    "UPDATE click_count_progress SET compacted_to = :part WHERE slot = :home"
    " AND compacted_to > :part"
)


def copy_segments(
    source: Peer,
    target: Peer,
    ranges: Sequence[SlotRange],
    since: datetime | None,
    on_rows: Callable[[int], object] = lambda _: None,
) -> datetime:
    """Tell the target which segments the source has counted for these slots, `since` an earlier
    call; since when the next call must look."""
    with source.transaction() as reading, target.connect() as writing:
        unseen: datetime = reading.scalar(_UNSEEN_SINCE)
        parameters: dict[str, Any] = {"moved": multirange(ranges), "since": since}
        query = _FIND_SEGMENTS.format(since="" if since is None else " AND ingested_at >= :since")
        rows = reading.execute(
            text(query), parameters, execution_options={"yield_per": _ROWS_AT_ONCE}
        )
        for page in rows.mappings().partitions(_ROWS_AT_ONCE):
            columns = {name: [row[name] for row in page] for name in page[0]}
            with writing.begin():
                writing.execute(_MERGE_SEGMENTS, columns)
            on_rows(len(page))
    return unseen


def merge_horizons(one: Peer, other: Peer) -> None:
    """Raw clicks are complete from the later moment on, as counts of before may be anywhere."""
    for here, there in ((one, other), (other, one)):
        with here.transaction() as reading, there.transaction() as writing:
            rows = reading.execute(_HORIZONS, {"home": HOME_SLOT}).all()
            writing.execute(
                _MERGE_HORIZONS,
                {
                    "home": HOME_SLOT,
                    "workspaces": [row.workspace_id for row in rows],
                    "moments": [row.complete_from for row in rows],
                },
            )


def compacted_to(connection: Connection) -> int:
    """Up to which part the counts of a shard were compacted."""
    return connection.scalar(_PROGRESS, {"home": HOME_SLOT}) or 0


def compact_again(target: Peer, part: int) -> None:
    """Have the counts that came compacted, too: from where their old shard was."""
    with target.transaction() as connection:
        lock = text("SELECT pg_advisory_xact_lock(:key)")
        connection.execute(lock, {"key": REWRITING_COUNTS})
        connection.execute(_LOWER_PROGRESS, {"home": HOME_SLOT, "part": part})
