"""What a shard keeps of all its slots gets a slot of its own; segments say for which slots they
were counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007_shard"
down_revision = "0006_shard"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE click_counts SET slot = -1 WHERE slot = 0 AND subject <> 1")
    op.execute("UPDATE click_count_progress SET slot = -1 WHERE slot = 0")
    op.execute("UPDATE click_horizons SET slot = -1 WHERE slot = 0")
    op.add_column(
        "ingested_segments",
        sa.Column(
            "covered",
            postgresql.INT4MULTIRANGE(),
            server_default=sa.text("'{[0,1024)}'"),
            nullable=False,
        ),
    )


def downgrade() -> None:
    op.drop_column("ingested_segments", "covered")
    op.execute("UPDATE click_horizons SET slot = 0 WHERE slot = -1")
    op.execute("UPDATE click_count_progress SET slot = 0 WHERE slot = -1")
    op.execute("UPDATE click_counts SET slot = 0 WHERE slot = -1")
