"""Workspaces that were erased: clicks of theirs that come late are not stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013_shard"
down_revision = "0012_shard"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "erased_workspaces",
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "erased_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("slot", "workspace_id", name=op.f("pk_erased_workspaces")),
    )


def downgrade() -> None:
    op.drop_table("erased_workspaces")
