"""Tables of the directory: imports, and the pieces in which their rows wait."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import DirectoryTable


class Import(DirectoryTable):
    """An import, how far it was received, and how far it is loaded."""

    __tablename__ = "imports"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    idempotency_key: Mapped[str | None] = mapped_column(Text)
    format: Mapped[str] = mapped_column(Text)
    conflict: Mapped[str] = mapped_column(Text)
    dry_run: Mapped[bool] = mapped_column()
    state: Mapped[str] = mapped_column(Text, server_default="receiving")
    # What of the body has been kept: rows, lines, unpacked bytes, and a running digest.
    rows: Mapped[int] = mapped_column(BigInteger, server_default="0")
    lines: Mapped[int] = mapped_column(BigInteger, server_default="0")
    size_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    digest: Mapped[bytes] = mapped_column(LargeBinary(16))
    # The names of the columns of CSV.
    header: Mapped[list[str] | None] = mapped_column(JSONB)
    chunks: Mapped[int] = mapped_column(BigInteger, server_default="0")
    # Who receives; another connection that goes on with the body takes it over.
    receiver: Mapped[int | None] = mapped_column(BigInteger)
    received_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    # What generated slugs are made of: the same ones, however often a chunk is loaded.
    seed: Mapped[bytes] = mapped_column(LargeBinary(16))
    # Chunks that are loaded, and those that somebody has begun to load.
    loaded: Mapped[int] = mapped_column(BigInteger, server_default="0")
    begun: Mapped[int] = mapped_column(BigInteger, server_default="0")
    tries: Mapped[int] = mapped_column(BigInteger, server_default="0")
    loaded_rows: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created: Mapped[int] = mapped_column(BigInteger, server_default="0")
    existing: Mapped[int] = mapped_column(BigInteger, server_default="0")
    overwritten: Mapped[int] = mapped_column(BigInteger, server_default="0")
    failed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    # Who loads, and until when they are believed to live.
    worker: Mapped[int | None] = mapped_column(BigInteger)
    worker_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # When a job for it was queued last.
    offered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # From then on nobody sees it, and it goes, piece by piece.
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("format IN ('ndjson', 'csv')", name="format"),
        CheckConstraint("conflict IN ('fail', 'skip', 'overwrite')", name="conflict"),
        CheckConstraint(
            "state IN ('receiving', 'queued', 'running', 'finished', 'failed', 'cancelled')",
            name="state",
        ),
        Index(
            "uq_imports_idempotency_key",
            "workspace_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index(None, "workspace_id", "id"),
        Index(None, "expires_at"),
        Index(
            "ix_imports_active",
            "workspace_id",
            postgresql_where=text("state IN ('receiving', 'queued', 'running')"),
        ),
        Index(
            "ix_imports_waiting",
            "offered_at",
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
    )


class ImportChunk(DirectoryTable):
    """Some rows of an import that follow each other, packed: first as they came, then what became
    of each."""

    __tablename__ = "import_chunks"

    import_id: Mapped[int] = mapped_column(
        ForeignKey("imports.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    first_row: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int] = mapped_column(BigInteger)
    staged: Mapped[bytes | None] = mapped_column(LargeBinary)
    outcomes: Mapped[bytes | None] = mapped_column(LargeBinary)
