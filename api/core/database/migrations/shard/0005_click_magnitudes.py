"""The most clicked links by index: to warm caches must not read all totals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_shard"
down_revision = "0004_shard"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "link_totals",
        sa.Column(
            "magnitude",
            sa.SmallInteger(),
            sa.Computed("(floor(4 * ln(greatest(clicks, 1)::float8)))::smallint", persisted=True),
            nullable=False,
        ),
    )
    op.create_index("ix_link_totals_magnitude", "link_totals", ["magnitude", "slot", "link_id"])


def downgrade() -> None:
    op.drop_index("ix_link_totals_magnitude", table_name="link_totals")
    op.drop_column("link_totals", "magnitude")
