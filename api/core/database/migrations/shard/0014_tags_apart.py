"""Tags without a foreign key: it looks each tag's link up again when the two are made together.

No release has relied on it: tags were always deleted with their links.
"""

from __future__ import annotations

from alembic import op

revision = "0014_shard"
down_revision = "0013_shard"
branch_labels = None
depends_on = None

_NAME = "fk_link_tags_slot_link_id"


def upgrade() -> None:
    op.execute(
        f"-- squawk-ignore ban-drop-constraint\nALTER TABLE link_tags DROP CONSTRAINT {_NAME}"
    )


def downgrade() -> None:
    op.create_foreign_key(
        _NAME, "link_tags", "links", ["slot", "link_id"], ["slot", "id"], ondelete="CASCADE"
    )
