"""Queries on imports: what requests ask and keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from api.core.database.routing import ReadSession, WriteSession
from api.core.database.sessions import AnyRow
from api.transfers.imports.models import Import, ImportChunk

# Of two requests that would each be the last allowed one, one waits for the other.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('imports', :workspace))")
_ACTIVE = ("receiving", "queued", "running")
# What is shown of an import, and what its receiver goes on with.
_SHOWN = (
    Import.id,
    Import.state,
    Import.dry_run,
    Import.conflict,
    Import.format,
    Import.rows,
    Import.created,
    Import.existing,
    Import.overwritten,
    Import.failed,
    Import.loaded_rows,
    Import.created_at,
    Import.started_at,
    Import.finished_at,
    Import.problem,
)
_RECEIVED = (*_SHOWN, Import.lines, Import.size_bytes, Import.digest, Import.header, Import.chunks)
_CHUNK = text(
    """
    WITH moved AS (
        UPDATE imports SET
            rows = rows + :count, lines = :lines, size_bytes = :size_bytes, digest = :digest,
            header = :header, chunks = chunks + 1, received_at = now(),
            expires_at = now() + make_interval(secs => :keep)
        WHERE id = :import AND receiver = :receiver AND state = 'receiving'
        RETURNING id, chunks - 1 AS number, rows - :count AS first_row
    )
    INSERT INTO import_chunks (import_id, number, first_row, rows, staged)
    SELECT id, number, first_row, :count, :staged FROM moved
    RETURNING number
    """
).bindparams(bindparam("header", type_=JSONB(none_as_null=True)))
_EXPIRED_CHUNKS = text(
    """
    DELETE FROM import_chunks WHERE (import_id, number) IN (
        SELECT import_id, number FROM import_chunks
        WHERE import_id = ANY (ARRAY(
            SELECT id FROM imports WHERE expires_at <= now() ORDER BY expires_at LIMIT 10))
        LIMIT :limit
    )
    """
)
_EXPIRED = text(
    """
    DELETE FROM imports WHERE id = ANY (ARRAY(
        SELECT id FROM imports WHERE expires_at <= now() ORDER BY expires_at LIMIT 10))
    """
)


def _is(workspace: int, identifier: int) -> ColumnElement[bool]:
    return and_(
        Import.id == identifier,
        Import.workspace_id == workspace,
        Import.expires_at > func.now(),
    )


def lock_imports(session: WriteSession, workspace: int) -> None:
    """Let nobody else begin an import of the workspace until the transaction ends."""
    session.execute(_LOCK, {"workspace": workspace})


def count_active(session: ReadSession, workspace: int, silent_seconds: float) -> int:
    """How many imports somebody receives, or will load, or loads."""
    silent = Import.received_at <= func.now() - func.make_interval(0, 0, 0, 0, 0, 0, silent_seconds)
    abandoned = and_(Import.state == "receiving", or_(Import.receiver.is_(None), silent))
    count: int = session.scalar(
        select(func.count())
        .select_from(Import)
        .where(
            Import.workspace_id == workspace,
            Import.state.in_(_ACTIVE),
            Import.expires_at > func.now(),
            ~abandoned,
        )
    )
    return count


def insert_import(session: WriteSession, values: Mapping[str, Any], keep_seconds: float) -> AnyRow:
    """A new import."""
    until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, keep_seconds)
    statement = insert(Import).values(**values, expires_at=until).returning(*_RECEIVED)
    return session.execute(statement).one()


def get_by_key(session: ReadSession, workspace: int, key: str) -> AnyRow | None:
    """The import that was begun with an idempotency key."""
    return session.execute(
        select(*_RECEIVED).where(
            Import.workspace_id == workspace,
            Import.idempotency_key == key,
            Import.expires_at > func.now(),
        )
    ).one_or_none()


def free_key(session: WriteSession, workspace: int, key: str) -> None:
    """Take an idempotency key from an import that nobody sees any more."""
    session.execute(
        update(Import)
        .where(
            Import.workspace_id == workspace,
            Import.idempotency_key == key,
            Import.expires_at <= func.now(),
        )
        .values(idempotency_key=None)
    )


def update_receiver(session: WriteSession, identifier: int, receiver: int) -> AnyRow | None:
    """Take over the receiving of an import; None where nothing of it is awaited any more."""
    return session.execute(
        update(Import)
        .where(Import.id == identifier, Import.state == "receiving")
        .values(receiver=receiver, received_at=func.now(), problem=None)
        .returning(*_RECEIVED)
    ).one_or_none()


def insert_chunk(session: WriteSession, **values: Any) -> bool:
    """Keep the next rows of an import; False where another receives it now, or nobody shall."""
    return session.execute(_CHUNK, values).first() is not None


def update_queued(session: WriteSession, identifier: int, receiver: int) -> AnyRow | None:
    """Say that the body has come whole; None where another receives it now, or nobody shall."""
    return session.execute(
        update(Import)
        .where(Import.id == identifier, Import.receiver == receiver, Import.state == "receiving")
        .values(
            state="queued",
            receiver=None,
            received_at=func.now(),
            offered_at=func.now(),
            expires_at=text("'infinity'"),
        )
        .returning(*_SHOWN)
    ).one_or_none()


def update_unreceived(
    session: WriteSession, identifier: int, receiver: int, problem: Mapping[str, Any] | None
) -> None:
    """Say that nobody receives an import now, and why."""
    session.execute(
        update(Import)
        .where(Import.id == identifier, Import.receiver == receiver, Import.state == "receiving")
        .values(receiver=None, problem=problem)
    )


def get_import(session: ReadSession, workspace: int, identifier: int) -> AnyRow | None:
    """An import."""
    return session.execute(select(*_SHOWN).where(_is(workspace, identifier))).one_or_none()


def find_imports(
    session: ReadSession, workspace: int, before: int | None, limit: int
) -> Sequence[AnyRow]:
    """Imports, newest first."""
    statement = select(*_SHOWN).where(
        Import.workspace_id == workspace, Import.expires_at > func.now()
    )
    if before is not None:
        statement = statement.where(Import.id < before)
    return session.execute(statement.order_by(Import.id.desc()).limit(limit)).all()


def update_cancelled(
    session: WriteSession, workspace: int, identifier: int, keep_seconds: float
) -> bool:
    """Cancel an import that has not ended; whether there was one."""
    found = session.execute(
        update(Import)
        .where(_is(workspace, identifier), Import.state.in_(_ACTIVE))
        .values(
            state="cancelled",
            receiver=None,
            worker=None,
            finished_at=func.now(),
            expires_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, keep_seconds),
        )
        .returning(Import.id)
    ).first()
    return found is not None


def update_forgotten(session: WriteSession, workspace: int, identifier: int) -> bool:
    """Let nobody see an import any more; whether there was one."""
    found = session.execute(
        update(Import)
        .where(_is(workspace, identifier))
        .values(idempotency_key=None, expires_at=func.now())
        .returning(Import.id)
    ).first()
    return found is not None


def find_outcomes(
    session: ReadSession, identifier: int, first: int, limit: int
) -> Sequence[AnyRow]:
    """What became of the rows of chunks from the `first` on."""
    return session.execute(
        select(ImportChunk.number, ImportChunk.first_row, ImportChunk.outcomes)
        .where(
            ImportChunk.import_id == identifier,
            ImportChunk.number >= first,
            ImportChunk.outcomes.is_not(None),
        )
        .order_by(ImportChunk.number)
        .limit(limit)
    ).all()


def delete_expired(session: WriteSession, limit: int) -> int:
    """Delete some of what nobody sees any more: chunks first, then imports without any."""
    chunks: int = session.execute(_EXPIRED_CHUNKS, {"limit": limit}).rowcount
    return chunks or session.execute(_EXPIRED).rowcount
