"""Tables of the directory: block rules, and which of them were changed last."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import DirectoryTable


class TargetRule(DirectoryTable):
    """A host or a pattern of addresses to which links do not lead."""

    __tablename__ = "target_rules"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # None: of the installation, for the links of all workspaces.
    workspace_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("workspaces.id", ondelete="CASCADE")
    )
    owner_id: Mapped[int] = mapped_column(
        BigInteger, Computed("coalesce(workspace_id, 0)", persisted=True)
    )
    kind: Mapped[str] = mapped_column(Text)
    # In the spelling that is compared: lower case, ASCII.
    value: Mapped[str] = mapped_column(Text)
    status: Mapped[int] = mapped_column(SmallInteger, server_default="451")
    reason: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        CheckConstraint("kind IN ('host', 'pattern')", name="kind"),
        CheckConstraint("value = lower(value) AND length(value) BETWEEN 1 AND 1000", name="value"),
        CheckConstraint("status IN (451, 410)", name="status"),
        CheckConstraint("length(reason) BETWEEN 1 AND 500", name="reason_length"),
        Index("uq_target_rules_value", "owner_id", "kind", "value", unique=True),
        Index(None, "owner_id", "id"),
        # For the deletion of a workspace; those of the installation are of none.
        Index(
            "ix_target_rules_workspace_id",
            "workspace_id",
            postgresql_where=text("workspace_id IS NOT NULL"),
        ),
    )


class TargetRuleChange(DirectoryTable):
    """The last change of an owner's rules: each process looks for the newest and reads no more
    than what it has not seen."""

    __tablename__ = "target_rule_changes"

    # The workspace, or 0 for the installation.
    owner_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # In the order in which changes were committed, over all owners.
    version: Mapped[int] = mapped_column(BigInteger)
    rules: Mapped[int] = mapped_column(Integer)

    __table_args__ = (Index(None, "version", unique=True),)
