"""Table of a shard: links whose title is to be fetched."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, ForeignKeyConstraint, Index, SmallInteger, func
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import ShardTable


class TitleFetch(ShardTable):
    """A link that has no title yet. The row comes with the link, in one transaction, and goes when
    there is a title or none is to be had: a job that was lost is found here again."""

    __tablename__ = "title_fetches"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    link_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    workspace_id: Mapped[int] = mapped_column(BigInteger)
    tries: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    # When somebody may try, also if somebody does and is not heard of again.
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    # When a job for it was queued last.
    offered_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        ForeignKeyConstraint(["slot", "link_id"], ["links.slot", "links.id"], ondelete="CASCADE"),
        Index(None, "due_at"),
    )
