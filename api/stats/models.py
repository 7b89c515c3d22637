"""Tables of a shard: counts by quarter of an hour and by day; statistics are answered from them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, LargeBinary, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import ShardTable

# Whose clicks a row counts.
SUBJECT_LINK = 1
SUBJECT_WORKSPACE = 2
SUBJECT_DOMAIN = 3
SUBJECT_TAG = 4

# How long the time is that a row counts: offsets of time zones are multiples of a quarter.
GRAIN_QUARTER = 0
GRAIN_DAY = 1
GRAIN_SECONDS = {GRAIN_QUARTER: 900, GRAIN_DAY: 86_400}

# By what a row splits its clicks; each is a column, see `api.stats.values` for what it holds.
DIMENSIONS = (
    "country",
    "referrer",
    "browser",
    "system",
    "device",
    "language",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
)


class ClickCount(ShardTable):
    """A part of the clicks and visitors of one subject in one quarter of an hour, or day, of UTC.

    Parts are only ever added: a batch of clicks adds one to each subject that it touches, and a
    count is the sum of its parts. Compaction replaces several parts by one. `slot` is the link's
    for a link; for everything else it is any slot of the shard, as it is summed over all shards.
    """

    __tablename__ = "click_counts"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    subject: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    subject_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    grain: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    start: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    bot: Mapped[bool] = mapped_column(primary_key=True)
    # Ascending by the time at which the part was made.
    part: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    workspace_id: Mapped[int] = mapped_column(BigInteger)
    clicks: Mapped[int] = mapped_column(BigInteger)
    # See `api.stats.sketches`.
    visitors: Mapped[bytes] = mapped_column(LargeBinary)
    country: Mapped[bytes | None] = mapped_column(LargeBinary)
    referrer: Mapped[bytes | None] = mapped_column(LargeBinary)
    browser: Mapped[bytes | None] = mapped_column(LargeBinary)
    system: Mapped[bytes | None] = mapped_column(LargeBinary)
    device: Mapped[bytes | None] = mapped_column(LargeBinary)
    language: Mapped[bytes | None] = mapped_column(LargeBinary)
    utm_source: Mapped[bytes | None] = mapped_column(LargeBinary)
    utm_medium: Mapped[bytes | None] = mapped_column(LargeBinary)
    utm_campaign: Mapped[bytes | None] = mapped_column(LargeBinary)
    utm_term: Mapped[bytes | None] = mapped_column(LargeBinary)
    utm_content: Mapped[bytes | None] = mapped_column(LargeBinary)

    __table_args__ = (
        CheckConstraint("clicks > 0", name="clicks"),
        # What compaction has not looked at yet.
        Index(None, "part"),
    )


class CountProgress(ShardTable):
    """Up to which part a shard's counts were compacted."""

    __tablename__ = "click_count_progress"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    compacted_to: Mapped[int] = mapped_column(BigInteger)
