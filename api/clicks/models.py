"""Tables of a shard: raw clicks and the segments they came in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Index, SmallInteger, String, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import ShardTable


class Click(ShardTable):
    """One answered visit. Partitioned by month of `clicked_at`; the partitions are made as clicks
    arrive, and dropped whole by retention."""

    __tablename__ = "clicks"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    link_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    clicked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    workspace_id: Mapped[int] = mapped_column(BigInteger)
    # 64 bits of a keyed hash of address and browser that changes its key every day.
    visitor: Mapped[int] = mapped_column(BigInteger)
    bot: Mapped[bool]
    country: Mapped[str] = mapped_column(String(2), server_default="")
    referrer: Mapped[str] = mapped_column(Text, server_default="")
    browser: Mapped[str] = mapped_column(Text, server_default="")
    system: Mapped[str] = mapped_column(Text, server_default="")
    device: Mapped[str] = mapped_column(Text, server_default="")
    language: Mapped[str] = mapped_column(Text, server_default="")
    utm_source: Mapped[str] = mapped_column(Text, server_default="")
    utm_medium: Mapped[str] = mapped_column(Text, server_default="")
    utm_campaign: Mapped[str] = mapped_column(Text, server_default="")
    utm_term: Mapped[str] = mapped_column(Text, server_default="")
    utm_content: Mapped[str] = mapped_column(Text, server_default="")
    # Truncated to /24 or /48, and only where the setting asks for it.
    address: Mapped[str | None] = mapped_column(Text)

    __table_args__ = ({"postgresql_partition_by": "RANGE (clicked_at)"},)


class IngestedSegment(ShardTable):
    """A segment that this shard has counted; a second delivery is skipped."""

    __tablename__ = "ingested_segments"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    segment_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    ingested_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )

    __table_args__ = (Index(None, "ingested_at"),)
