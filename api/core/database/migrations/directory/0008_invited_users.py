"""Users whose address nobody has proved but who invited them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_directory"
down_revision = "0007_directory"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "users", sa.Column("invited", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )


def downgrade() -> None:
    op.drop_column("users", "invited")
