"""From when on raw clicks are complete, and which links' clicks were erased."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_shard"
down_revision = "0001_shard"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "click_erasures",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("link_id", sa.BigInteger(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("erased_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "requested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("slot", "link_id", name=op.f("pk_click_erasures")),
    )
    op.create_index(
        "ix_click_erasures_unfinished",
        "click_erasures",
        ["requested_at"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "click_horizons",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("complete_from", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("slot", "workspace_id", name=op.f("pk_click_horizons")),
    )


def downgrade() -> None:
    op.drop_table("click_horizons")
    op.drop_table("click_erasures")
