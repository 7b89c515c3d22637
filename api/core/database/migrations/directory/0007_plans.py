"""Plans of workspaces, and what they have used of their quotas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007_directory"
down_revision = "0006_directory"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("plan", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_workspaces_plan_length"), "workspaces", "length(plan) BETWEEN 1 AND 40"
    )
    op.create_table(
        "link_usage",
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("links", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("links >= 0", name=op.f("ck_link_usage_links")),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_link_usage_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workspace_id", "month", name=op.f("pk_link_usage")),
    )


def downgrade() -> None:
    op.drop_table("link_usage")
    op.drop_constraint(op.f("ck_workspaces_plan_length"), "workspaces")
    op.drop_column("workspaces", "plan")
