"""Imports, and the pieces in which their rows wait."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011_directory"
down_revision = "0010_directory"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def _moment(
    name: str, *, nullable: bool = True, default: sa.TextClause | None = None
) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("conflict", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), server_default="receiving", nullable=False),
        _count("rows"),
        _count("lines"),
        _count("size_bytes"),
        sa.Column("digest", sa.LargeBinary(16), nullable=False),
        sa.Column("header", postgresql.JSONB(), nullable=True),
        _count("chunks"),
        sa.Column("receiver", sa.BigInteger(), nullable=True),
        _moment("received_at", nullable=False, default=_NOW),
        sa.Column("seed", sa.LargeBinary(16), nullable=False),
        _count("loaded"),
        _count("begun"),
        _count("tries"),
        _count("loaded_rows"),
        _count("created"),
        _count("existing"),
        _count("overwritten"),
        _count("failed"),
        sa.Column("problem", postgresql.JSONB(), nullable=True),
        sa.Column("worker", sa.BigInteger(), nullable=True),
        _moment("worker_until"),
        _moment("offered_at"),
        _moment("created_at", nullable=False, default=_NOW),
        _moment("started_at"),
        _moment("finished_at"),
        _moment("expires_at", nullable=False),
        sa.CheckConstraint("format IN ('ndjson', 'csv')", name=op.f("ck_imports_format")),
        sa.CheckConstraint(
            "conflict IN ('fail', 'skip', 'overwrite')", name=op.f("ck_imports_conflict")
        ),
        sa.CheckConstraint(
            "state IN ('receiving', 'queued', 'running', 'finished', 'failed', 'cancelled')",
            name=op.f("ck_imports_state"),
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_imports_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imports")),
    )
    op.create_index(
        "uq_imports_idempotency_key",
        "imports",
        ["workspace_id", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(op.f("ix_imports_workspace_id_id"), "imports", ["workspace_id", "id"])
    op.create_index(op.f("ix_imports_expires_at"), "imports", ["expires_at"])
    op.create_index(
        "ix_imports_active",
        "imports",
        ["workspace_id"],
        postgresql_where=sa.text("state IN ('receiving', 'queued', 'running')"),
    )
    op.create_index(
        "ix_imports_waiting",
        "imports",
        ["offered_at"],
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "import_chunks",
        sa.Column("import_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_row", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("staged", sa.LargeBinary(), nullable=True),
        sa.Column("outcomes", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_id"],
            ["imports.id"],
            name=op.f("fk_import_chunks_import_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("import_id", "number", name=op.f("pk_import_chunks")),
    )


def downgrade() -> None:
    op.drop_table("import_chunks")
    op.drop_table("imports")
