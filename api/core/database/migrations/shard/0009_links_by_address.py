"""Links to one address in their order, by index: there may be thousands, of which the oldest is
wanted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_shard"
down_revision = "0007_shard"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # A run that was killed half way leaves an index behind that nobody reads.
        op.drop_index(
            "ix_links_address", table_name="links", postgresql_concurrently=True, if_exists=True
        )
        op.create_index(
            "ix_links_address",
            "links",
            ["workspace_id", sa.literal_column("md5(url)"), "id"],
            postgresql_where=sa.text("deleted_at IS NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.drop_index(
            "ix_links_url", table_name="links", postgresql_concurrently=True, if_exists=True
        )


def downgrade() -> None:
    op.create_index("ix_links_url", "links", ["workspace_id", sa.literal_column("md5(url)")])
    op.drop_index("ix_links_address", table_name="links")
