"""Table of the directory: workspaces that were, or are being, erased."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Index, LargeBinary, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import DirectoryTable


class WorkspaceErasure(DirectoryTable):
    """The erasure of a workspace: all that stays of it is this row, which names nobody.

    Whoever asked knows a token, of which the SHA-256 is kept: the workspace's own credentials are
    the first thing that goes.
    """

    __tablename__ = "workspace_erasures"

    workspace_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    asked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    # Until when a worker that does not say so again is taken for dead.
    claimed_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # How many rows of which table are gone.
    erased: Mapped[dict[str, int]] = mapped_column(JSONB, server_default="{}")

    __table_args__ = (
        Index(
            "ix_workspace_erasures_unfinished",
            "asked_at",
            postgresql_where=text("finished_at IS NULL"),
        ),
    )
