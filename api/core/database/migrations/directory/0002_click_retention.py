"""How long a workspace keeps raw clicks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_directory"
down_revision = "0001_directory"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("click_retention_days", sa.Integer(), nullable=True))
    op.create_check_constraint(
        op.f("ck_workspaces_click_retention_days"),
        "workspaces",
        "click_retention_days BETWEEN 1 AND 36500",
    )


def downgrade() -> None:
    op.drop_constraint(op.f("ck_workspaces_click_retention_days"), "workspaces")
    op.drop_column("workspaces", "click_retention_days")
