"""What refuses rows of slots that a shard does not own; scripts/shards makes the triggers."""

from __future__ import annotations

from alembic import op

revision = "0010_shard"
down_revision = "0009_shard"
branch_labels = None
depends_on = None

_FUNCTION = """
CREATE FUNCTION refuse_foreign_slot() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    refused smallint := CASE TG_OP WHEN 'DELETE' THEN OLD.slot ELSE NEW.slot END;
BEGIN
    IF current_setting('signpost.moving', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION USING
        ERRCODE = 'SP001',
        MESSAGE = format('slot %s of %s belongs to another shard', refused, TG_TABLE_NAME);
END
$$
"""


def upgrade() -> None:
    op.execute(_FUNCTION)


def downgrade() -> None:
    op.execute("DROP FUNCTION refuse_foreign_slot() CASCADE")
