"""Where links may not lead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005_directory"
down_revision = "0004_directory"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "target_rules",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "owner_id",
            sa.BigInteger(),
            sa.Computed("coalesce(workspace_id, 0)", persisted=True),
            nullable=False,
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("status", sa.SmallInteger(), server_default="451", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint("kind IN ('host', 'pattern')", name=op.f("ck_target_rules_kind")),
        sa.CheckConstraint(
            "value = lower(value) AND length(value) BETWEEN 1 AND 1000",
            name=op.f("ck_target_rules_value"),
        ),
        sa.CheckConstraint("status IN (451, 410)", name=op.f("ck_target_rules_status")),
        sa.CheckConstraint(
            "length(reason) BETWEEN 1 AND 500", name=op.f("ck_target_rules_reason_length")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_target_rules_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_target_rules")),
    )
    op.create_index(
        "uq_target_rules_value", "target_rules", ["owner_id", "kind", "value"], unique=True
    )
    op.create_index(op.f("ix_target_rules_owner_id_id"), "target_rules", ["owner_id", "id"])
    # For the deletion of a workspace; those of the installation are of none.
    op.create_index(
        "ix_target_rules_workspace_id",
        "target_rules",
        ["workspace_id"],
        postgresql_where=sa.text("workspace_id IS NOT NULL"),
    )
    op.create_table(
        "target_rule_changes",
        sa.Column("owner_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("rules", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("pk_target_rule_changes")),
    )
    op.create_index(
        op.f("ix_target_rule_changes_version"), "target_rule_changes", ["version"], unique=True
    )


def downgrade() -> None:
    op.drop_table("target_rule_changes")
    op.drop_table("target_rules")
