"""Erasures of workspaces, whose audit events may then be deleted; those of nobody else."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012_directory"
down_revision = "0011_directory"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workspace_erasures",
        sa.Column("workspace_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column(
            "asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "erased",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("workspace_id", name=op.f("pk_workspace_erasures")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_workspace_erasures_token_hash")),
    )
    op.create_index(
        "ix_workspace_erasures_unfinished",
        "workspace_erasures",
        ["asked_at"],
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.execute(
        """
        CREATE OR REPLACE FUNCTION audit_events_stay() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND TG_LEVEL = 'STATEMENT' THEN
                IF EXISTS (SELECT FROM workspace_erasures WHERE finished_at IS NULL) THEN
                    RETURN NULL;
                END IF;
            ELSIF TG_OP = 'DELETE' THEN
                IF EXISTS (
                    SELECT FROM workspace_erasures
                    WHERE workspace_id = OLD.workspace_id AND finished_at IS NULL
                ) THEN
                    RETURN OLD;
                END IF;
            END IF;
            RAISE EXCEPTION 'audit_events is append-only: % is refused', TG_OP
                USING ERRCODE = 'insufficient_privilege';
        END
        $$
        """
    )
    # A statement may be let through for one workspace; each row that it would delete is asked.
    op.execute(
        "CREATE TRIGGER audit_events_stay_each BEFORE DELETE ON audit_events"
        " FOR EACH ROW EXECUTE FUNCTION audit_events_stay()"
    )
    op.execute("ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_stay_each")


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_events_stay_each ON audit_events")
    op.execute(
        """
        CREATE OR REPLACE FUNCTION audit_events_stay() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'audit_events is append-only: % is refused', TG_OP
                USING ERRCODE = 'insufficient_privilege';
        END
        $$
        """
    )
    op.drop_table("workspace_erasures")
