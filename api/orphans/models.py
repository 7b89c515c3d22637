"""Table of a shard: visits that no link answered, by quarter of an hour."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import ShardTable


class OrphanVisitCount(ShardTable):
    """Visits of one kind at one host in one quarter of an hour. `slot` is that of the host."""

    __tablename__ = "orphan_visits"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    # 0 where the visits belong to nobody.
    workspace_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    # Empty for a host that nobody has claimed.
    host: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    quarter: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    visits: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        CheckConstraint("visits > 0", name="visits"),
        # A workspace asks for a period at all hosts, whose slots it cannot name: those that it has
        # given up are among them.
        Index(None, "workspace_id", "quarter"),
    )
