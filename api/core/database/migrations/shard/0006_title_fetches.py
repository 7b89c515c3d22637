"""Links whose title is to be fetched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006_shard"
down_revision = "0005_shard"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "title_fetches",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("link_id", sa.BigInteger(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "offered_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["slot", "link_id"],
            ["links.slot", "links.id"],
            name=op.f("fk_title_fetches_slot_link_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("slot", "link_id", name=op.f("pk_title_fetches")),
    )
    op.create_index(op.f("ix_title_fetches_due_at"), "title_fetches", ["due_at"])


def downgrade() -> None:
    op.drop_table("title_fetches")
