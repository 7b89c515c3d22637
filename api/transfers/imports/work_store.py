"""Queries on imports: what the worker asks and keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB

from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.transfers.imports.models import ImportChunk

# Those that nobody has told a worker of lately, and that none works at.
_OFFER = text(
    """
    UPDATE imports SET offered_at = now()
    WHERE id = ANY (ARRAY(
        SELECT id FROM imports
        WHERE state IN ('queued', 'running')
            AND offered_at <= now() - make_interval(secs => :lost)
            AND (worker IS NULL OR worker_until <= now())
        ORDER BY offered_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )) RETURNING id
    """
)
# `again`: whether somebody began the next chunk and did not tell what became of it.
_CLAIM = text(
    """
    UPDATE imports AS held SET
        state = 'running', worker = :worker, worker_until = now() + make_interval(secs => :lease),
        started_at = coalesce(held.started_at, now()), begun = held.loaded + 1,
        tries = held.tries + 1
    FROM (SELECT id, begun > loaded AS again FROM imports WHERE id = :import FOR UPDATE) AS before
    WHERE held.id = before.id AND held.state IN ('queued', 'running')
        AND (held.worker IS NULL OR held.worker_until <= now())
    RETURNING held.id, held.workspace_id, held.conflict, held.dry_run, held.seed, held.created_at,
        held.chunks, held.loaded, held.tries, before.again
    """
)
_LOADED = text(
    """
    WITH counted AS (
        UPDATE imports SET
            loaded = loaded + 1, begun = loaded + 2, tries = 0,
            loaded_rows = loaded_rows + :rows, created = created + :created,
            existing = existing + :exists, overwritten = overwritten + :overwritten,
            failed = failed + :failed, worker_until = now() + make_interval(secs => :lease)
        WHERE id = :import AND worker = :worker AND state = 'running' AND loaded = :number
        RETURNING id
    )
    UPDATE import_chunks SET staged = NULL, outcomes = :outcomes
    FROM counted WHERE import_id = counted.id AND number = :number
    RETURNING number
    """
)
_RELEASE = text(
    """
    UPDATE imports SET worker = NULL, worker_until = NULL, tries = 0, offered_at = now(),
        begun = CASE WHEN :begun THEN begun ELSE loaded END
    WHERE id = :import AND worker = :worker AND state = 'running'
    """
)
_END = text(
    """
    UPDATE imports SET state = :state, worker = NULL, worker_until = NULL, problem = :problem,
        finished_at = now(), expires_at = now() + make_interval(secs => :keep)
    WHERE id = :import AND worker = :worker AND state = 'running'
    RETURNING workspace_id, created, existing, overwritten, failed, dry_run
    """
).bindparams(bindparam("problem", type_=JSONB(none_as_null=True)))


class Claim(NamedTuple):
    """The right to load an import, for as long as it is renewed."""

    id: int
    workspace_id: int
    conflict: str
    dry_run: bool
    seed: bytes
    created_at: Any
    chunks: int
    loaded: int
    tries: int
    again: bool


def update_offers(session: WriteSession, lost_seconds: float, limit: int) -> Sequence[int]:
    """Imports that wait and were not offered for so long; now they are."""
    return list(session.scalars(_OFFER, {"lost": lost_seconds, "limit": limit}))


def update_claim(
    session: WriteSession, identifier: int, worker: int, lease_seconds: float
) -> Claim | None:
    """Begin to load an import, unless somebody does, or there is nothing to load."""
    given = {"import": identifier, "worker": worker, "lease": lease_seconds}
    row = session.execute(_CLAIM, given).one_or_none()
    return None if row is None else Claim(*row)


def get_chunk(session: ReadSession, identifier: int, number: int) -> AnyRow:
    """The rows of a chunk."""
    return session.execute(
        select(ImportChunk.first_row, ImportChunk.rows, ImportChunk.staged).where(
            ImportChunk.import_id == identifier, ImportChunk.number == number
        )
    ).one()


def update_loaded(session: WriteSession, **values: Any) -> bool:
    """Keep what became of a chunk; False where the import is not the worker's any more."""
    return session.execute(_LOADED, values).first() is not None


def update_released(session: WriteSession, identifier: int, worker: int, *, begun: bool) -> None:
    """Let another load on; `begun`: with a chunk of which some may be loaded."""
    session.execute(_RELEASE, {"import": identifier, "worker": worker, "begun": begun})


def update_ended(
    session: WriteSession,
    identifier: int,
    worker: int,
    state: str,
    problem: Mapping[str, Any] | None,
    keep_seconds: float,
) -> AnyRow | None:
    """Say that an import has ended; None where it is not the worker's any more."""
    given = {
        "import": identifier,
        "worker": worker,
        "state": state,
        "problem": problem,
        "keep": keep_seconds,
    }
    return session.execute(_END, given).one_or_none()
