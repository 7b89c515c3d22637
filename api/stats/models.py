"""Table of a shard: counts by quarter of an hour, from which every statistic is answered."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, LargeBinary, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import ShardTable

# Whose clicks a row counts.
SUBJECT_LINK = 1
SUBJECT_WORKSPACE = 2

# By what a row splits them. The numbers are stored: append, never renumber.
DIMENSIONS = {
    "total": 0,
    "country": 1,
    "referrer": 2,
    "browser": 3,
    "system": 4,
    "device": 5,
    "language": 6,
    "utm_source": 7,
    "utm_medium": 8,
    "utm_campaign": 9,
    "utm_term": 10,
    "utm_content": 11,
}


class ClickCount(ShardTable):
    """Clicks and visitors of one subject in one quarter of an hour, with one value of a dimension.

    Quarters, because the offsets of time zones are multiples of one: a local day of any zone is a
    whole number of rows. `slot` is the link's for a link; for a workspace it is any slot of the
    shard, as its counts are summed over all shards.
    """

    __tablename__ = "click_counts"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    subject: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    subject_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    dimension: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    quarter: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    bot: Mapped[bool] = mapped_column(primary_key=True)
    # Empty where the click does not tell.
    value: Mapped[str] = mapped_column(Text, primary_key=True)
    clicks: Mapped[int] = mapped_column(BigInteger)
    # A HyperLogLog sketch (Apache DataSketches, lg k 14) of the visitors' hashes.
    visitors: Mapped[bytes] = mapped_column(LargeBinary)

    __table_args__ = (CheckConstraint("clicks > 0", name="clicks"),)
