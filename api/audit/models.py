"""Table of the directory: what was done."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Index, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import DirectoryTable


class Event(DirectoryTable):
    """Something that was done. A trigger of the table refuses to change or delete any.

    It refers to nothing: what is gone is still told of.
    """

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # None: it concerns the installation, or nobody knows whom.
    workspace_id: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    # thing.verb
    action: Mapped[str] = mapped_column(Text)
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[str | None] = mapped_column(Text)
    # As it was then.
    actor_name: Mapped[str | None] = mapped_column(Text)
    # Through which key or client a user did it.
    via_kind: Mapped[str | None] = mapped_column(Text)
    via_id: Mapped[str | None] = mapped_column(Text)
    target_kind: Mapped[str | None] = mapped_column(Text)
    target_id: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")

    __table_args__ = (
        CheckConstraint(
            "actor_kind IN ('user', 'key', 'client', 'operator', 'nobody')", name="actor_kind"
        ),
        Index(None, "workspace_id", "id"),
        Index(None, "workspace_id", "action", "id"),
        Index(None, "workspace_id", "actor_kind", "actor_id", "id"),
        Index(None, "workspace_id", "target_kind", "target_id", "id"),
    )
