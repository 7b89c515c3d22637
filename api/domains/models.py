"""Table of the directory: host names that workspaces have claimed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import DirectoryTable


class Domain(DirectoryTable):
    """A host name that serves the short links of one workspace."""

    __tablename__ = "domains"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workspaces.id", ondelete="CASCADE")
    )
    # In ASCII (punycode), lower case, without a port or a trailing dot.
    host: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        CheckConstraint("host = lower(host) AND length(host) BETWEEN 1 AND 253", name="host"),
        Index(None, "workspace_id", "id"),
    )
