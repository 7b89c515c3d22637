"""Deleted links in the order of their ids, by index: what was clicked of them is exported, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_shard"
down_revision = "0011_shard"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # A run that was killed half way leaves an index behind that nobody reads.
        op.drop_index(
            "ix_links_deleted", table_name="links", postgresql_concurrently=True, if_exists=True
        )
        op.create_index(
            "ix_links_deleted",
            "links",
            ["workspace_id", "id"],
            postgresql_where=sa.text("deleted_at IS NOT NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_index("ix_links_deleted", table_name="links")
