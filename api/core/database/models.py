"""Tables of the directory: the shards, and which of them owns each slot."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Identity,
    SmallInteger,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import DirectoryTable


class ShardRow(DirectoryTable):
    """A shard beside `main`; its address is here, unless the settings of all processes have it."""

    __tablename__ = "shards"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    url: Mapped[str | None] = mapped_column(Text)
    added_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class SlotRow(DirectoryTable):
    """Where a slot is; one without a row is with `main`, open, and nowhere else."""

    __tablename__ = "slots"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    shard: Mapped[str] = mapped_column(Text)
    # Nobody may write it at present.
    closed: Mapped[bool] = mapped_column(Boolean, server_default="false")
    # Another shard that may have copies of its rows.
    copy_on: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (CheckConstraint("slot BETWEEN 0 AND 1023", name="slot"),)


class SlotMapVersion(DirectoryTable):
    """One row. Whoever changes shards or slots adds one to it, in the same transaction."""

    __tablename__ = "slot_map"

    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class SlotMove(DirectoryTable):
    """Slots on their way from a shard to another, or that were; see `api.core.database.moving`."""

    __tablename__ = "slot_moves"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    target: Mapped[str] = mapped_column(Text)
    # Pairs of the first and the last of slots that follow each other.
    ranges: Mapped[list[list[int]]] = mapped_column(JSONB)
    # The last step that is done.
    step: Mapped[str] = mapped_column(Text, server_default="planned")
    # What a later step must know of an earlier one.
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    begun_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    stepped_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
