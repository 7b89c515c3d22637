"""Idempotent creation: the same `Idempotency-Key` and body get the first answer again.

After draft-ietf-httpapi-idempotency-key-header: another body under the same key is 422, a second
request while the first is still running is 409.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    delete,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.routing import Database, WriteSession
from api.core.database.tables import ShardTable
from api.core.errors import Conflict, DomainError
from api.core.ids import SLOTS

MAX_KEY_LENGTH = 255
# A request that has not answered by then died with its process: another may take over.
_RUNNING = timedelta(minutes=1)
_PURGE_ROWS = 1_000


class IdempotencyRecord(ShardTable):
    """A key, what was asked under it, and the answer once there is one."""

    __tablename__ = "idempotency_keys"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    workspace_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    key: Mapped[str] = mapped_column(String(MAX_KEY_LENGTH), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (Index(None, "created_at"),)


class IdempotencyKeyReused(DomainError):
    """The key was used with another request."""

    status = 422
    code = "idempotency-key-reused"
    title = "This Idempotency-Key was used with another request"


class IdempotencyKeyInUse(Conflict):
    """The first request with this key is still running."""

    code = "idempotency-key-in-use"
    title = "The first request with this Idempotency-Key is still running"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


@dataclass(frozen=True)
class Answer:
    """What is sent, and sent again: status, the headers that matter, and the body's bytes."""

    status: int
    headers: dict[str, str]
    body: bytes


class IdempotencyKeys:
    """Remembers answers for `life`."""

    def __init__(self, db: Database, life: timedelta) -> None:
        self._db = db
        self._life = life

    def once(
        self, workspace: int, key: str, request: bytes, perform: Callable[[], Answer]
    ) -> Answer:
        """`perform()`, or the answer that it gave before under the same key.

        Only successful answers are kept: after an error the same key may be tried again.

        Raises:
            IdempotencyKeyReused: `request` differs from the first one.
            IdempotencyKeyInUse: the first request has not answered yet.
        """
        slot = zlib.crc32(f"{workspace}/{key}".encode()) % SLOTS
        fingerprint = hashlib.sha256(request).digest()
        with self._db.write(slot) as session:
            known = self._claim(session, slot, workspace, key, fingerprint)
        if known is not None:
            return known
        try:
            answer = perform()
        except BaseException:
            with self._db.write(slot) as session:
                session.execute(delete(IdempotencyRecord).where(*_is(slot, workspace, key)))
            raise
        with self._db.write(slot) as session:
            session.execute(
                update(IdempotencyRecord)
                .where(*_is(slot, workspace, key))
                .values(status=answer.status, headers=answer.headers, body=answer.body)
            )
        return answer

    def purge(self) -> int:
        """Delete a bounded number of records past their life from the shards; how many."""
        deleted = 0
        key = (IdempotencyRecord.slot, IdempotencyRecord.workspace_id, IdempotencyRecord.key)
        # Locked: a key that is claimed anew just now stays.
        expired = (
            select(*key)
            .where(IdempotencyRecord.created_at < func.now() - self._life)
            .limit(_PURGE_ROWS)
            .with_for_update(skip_locked=True)
        )
        for shard in self._db.shards():
            with self._db.write_shard(shard) as session:
                owned = session.owned(IdempotencyRecord.slot)
                rows = session.execute(expired.where(*owned)).all()
                if rows:
                    session.execute(delete(IdempotencyRecord).where(tuple_(*key).in_(rows)))
            deleted += len(rows)
        return deleted

    def _claim(
        self, session: WriteSession, slot: int, workspace: int, key: str, fingerprint: bytes
    ) -> Answer | None:
        """Take the key for this request, or give the earlier answer."""
        claim = insert(IdempotencyRecord).values(
            slot=slot, workspace_id=workspace, key=key, fingerprint=fingerprint
        )
        age = func.now() - IdempotencyRecord.created_at
        takeover = claim.on_conflict_do_update(
            index_elements=["slot", "workspace_id", "key"],
            set_={
                "fingerprint": claim.excluded.fingerprint,
                "status": None,
                "headers": None,
                "body": None,
                "created_at": func.now(),
            },
            where=or_(age > self._life, (IdempotencyRecord.status.is_(None)) & (age > _RUNNING)),
        ).returning(IdempotencyRecord.slot)
        if session.execute(takeover).first() is not None:
            return None
        record = session.execute(
            select(
                IdempotencyRecord.fingerprint,
                IdempotencyRecord.status,
                IdempotencyRecord.headers,
                IdempotencyRecord.body,
            ).where(*_is(slot, workspace, key))
        ).one()
        if record.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        if record.status is None:
            raise IdempotencyKeyInUse
        return Answer(record.status, record.headers, record.body)


def _is(slot: int, workspace: int, key: str) -> tuple[ColumnElement[bool], ...]:
    return (
        IdempotencyRecord.slot == slot,
        IdempotencyRecord.workspace_id == workspace,
        IdempotencyRecord.key == key,
    )
