"""Visits that no link answered, by quarter of an hour."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003_shard"
down_revision = "0002_shard"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "orphan_visits",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("quarter", sa.DateTime(timezone=True), nullable=False),
        sa.Column("visits", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("visits > 0", name=op.f("ck_orphan_visits_visits")),
        sa.PrimaryKeyConstraint(
            "slot", "workspace_id", "host", "kind", "quarter", name=op.f("pk_orphan_visits")
        ),
    )
    op.create_index(
        op.f("ix_orphan_visits_workspace_id_quarter"),
        "orphan_visits",
        ["workspace_id", "quarter"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_table("orphan_visits")
