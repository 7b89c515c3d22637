"""Tables of a shard: raw clicks, the segments they came in, and what was deleted of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Index, SmallInteger, String, Text, func, text
from sqlalchemy.dialects.postgresql import INT4MULTIRANGE
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
    # The slots for which it was counted here: others may have moved here since.
    covered: Mapped[Any] = mapped_column(INT4MULTIRANGE, server_default=text("'{[0,1024)}'"))

    __table_args__ = (Index(None, "ingested_at"),)


class ClickHorizon(ShardTable):
    """From when on the raw clicks of a workspace are complete on this shard.

    Moves forward before anything is deleted, and never back: what is counted of the time before
    cannot be counted again. `slot` is any slot of the shard; a workspace without a row has lost
    nothing.
    """

    __tablename__ = "click_horizons"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    workspace_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    complete_from: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class ClickErasure(ShardTable):
    """A link whose clicks up to a moment were erased on request; kept, so that none comes back."""

    __tablename__ = "click_erasures"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    link_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    workspace_id: Mapped[int] = mapped_column(BigInteger)
    erased_until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    requested_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now()
    )
    # Empty while clicks of before may still be found, or arrive.
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        Index(
            "ix_click_erasures_unfinished",
            "requested_at",
            postgresql_where=text("finished_at IS NULL"),
        ),
    )


class ErasedWorkspace(ShardTable):
    """A workspace that was erased; kept, so that no click of it comes back. `slot` is any slot of
    the shard."""

    __tablename__ = "erased_workspaces"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    workspace_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    erased_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
