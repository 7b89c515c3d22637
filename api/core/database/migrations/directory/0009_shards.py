"""The shards, and which of them owns each slot."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_directory"
down_revision = "0008_directory"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shards",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column(
            "added_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_shards")),
    )
    op.create_table(
        "slots",
        sa.Column("slot", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("shard", sa.Text(), nullable=False),
        sa.Column("closed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("copy_on", sa.Text(), nullable=True),
        sa.CheckConstraint("slot BETWEEN 0 AND 1023", name=op.f("ck_slots_slot")),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_slots")),
    )
    op.create_table(
        "slot_map",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_slot_map")),
    )
    op.execute("INSERT INTO slot_map (version) VALUES (1)")


def downgrade() -> None:
    op.drop_table("slot_map")
    op.drop_table("slots")
    op.drop_table("shards")
