"""Tags without a foreign key: it looks each tag's link up again when the two are made together."""

from __future__ import annotations

from alembic import op

revision = "0014_shard"
down_revision = "0013_shard"
branch_labels = None
depends_on = None

_NAME = "fk_link_tags_slot_link_id"


def upgrade() -> None:
    op.drop_constraint(_NAME, "link_tags", type_="foreignkey")


def downgrade() -> None:
    op.create_foreign_key(
        _NAME, "link_tags", "links", ["slot", "link_id"], ["slot", "id"], ondelete="CASCADE"
    )
