"""No slot is made up: a key of one number had been given a sequence."""

from __future__ import annotations

from alembic import op

revision = "0011_shard"
down_revision = "0010_shard"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Whoever writes a row says its slot, and always did.
    op.execute(
        "-- squawk-ignore ban-drop-default\n"
        "ALTER TABLE click_count_progress ALTER COLUMN slot DROP DEFAULT"
    )
    op.execute("-- squawk-ignore ban-drop-sequence\nDROP SEQUENCE click_count_progress_slot_seq")


def downgrade() -> None:
    op.execute(
        "CREATE SEQUENCE click_count_progress_slot_seq AS smallint"
        " OWNED BY click_count_progress.slot"
    )
    op.execute(
        "ALTER TABLE click_count_progress ALTER COLUMN slot"
        " SET DEFAULT nextval('click_count_progress_slot_seq')"
    )
