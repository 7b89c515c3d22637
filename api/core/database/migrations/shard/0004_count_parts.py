"""Counts in parts that are only ever added, by quarter of an hour and by day.

The old counts go: they are made again from the raw clicks by scripts/rebuild-stats.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_shard"
down_revision = "0003_shard"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("click_counts")
    op.create_table(
        "click_counts",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("subject", sa.SmallInteger(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("grain", sa.SmallInteger(), nullable=False),
        sa.Column("start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bot", sa.Boolean(), nullable=False),
        sa.Column("part", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("clicks", sa.BigInteger(), nullable=False),
        sa.Column("visitors", sa.LargeBinary(), nullable=False),
        sa.Column("country", sa.LargeBinary(), nullable=True),
        sa.Column("referrer", sa.LargeBinary(), nullable=True),
        sa.Column("browser", sa.LargeBinary(), nullable=True),
        sa.Column("system", sa.LargeBinary(), nullable=True),
        sa.Column("device", sa.LargeBinary(), nullable=True),
        sa.Column("language", sa.LargeBinary(), nullable=True),
        sa.Column("utm_source", sa.LargeBinary(), nullable=True),
        sa.Column("utm_medium", sa.LargeBinary(), nullable=True),
        sa.Column("utm_campaign", sa.LargeBinary(), nullable=True),
        sa.Column("utm_term", sa.LargeBinary(), nullable=True),
        sa.Column("utm_content", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("clicks > 0", name=op.f("ck_click_counts_clicks")),
        sa.PrimaryKeyConstraint(
            "slot",
            "subject",
            "subject_id",
            "grain",
            "start",
            "bot",
            "part",
            name=op.f("pk_click_counts"),
        ),
    )
    op.create_index(op.f("ix_click_counts_part"), "click_counts", ["part"])
    op.create_table(
        "click_count_progress",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("compacted_to", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slot", name=op.f("pk_click_count_progress")),
    )


def downgrade() -> None:
    op.drop_table("click_count_progress")
    op.drop_table("click_counts")
    op.create_table(
        "click_counts",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("subject", sa.SmallInteger(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("dimension", sa.SmallInteger(), nullable=False),
        sa.Column("quarter", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bot", sa.Boolean(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("clicks", sa.BigInteger(), nullable=False),
        sa.Column("visitors", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("clicks > 0", name=op.f("ck_click_counts_clicks")),
        sa.PrimaryKeyConstraint(
            "slot",
            "subject",
            "subject_id",
            "dimension",
            "quarter",
            "bot",
            "value",
            name=op.f("pk_click_counts"),
        ),
    )
