"""The table of what workspaces have used of their quotas."""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, CheckConstraint, Date, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import DirectoryTable


class LinkUsage(DirectoryTable):
    """How many links a workspace made in a month (UTC); only while its plan has a quota of them.

    Reserved before the links are made, and what came to nothing is given back.
    """

    __tablename__ = "link_usage"

    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True
    )
    # Its first day.
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    links: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (CheckConstraint("links >= 0", name="links"),)
