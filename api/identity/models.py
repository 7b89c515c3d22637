"""Tables of the directory: workspaces, users, who may do what where, and API keys."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import DirectoryTable


class Workspace(DirectoryTable):
    """What everything belongs to."""

    __tablename__ = "workspaces"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)
    # Whether the slug of a deleted link may be used again; otherwise it answers 410 for ever.
    reuse_deleted_slugs: Mapped[bool] = mapped_column(default=False, server_default="false")
    # For how long raw clicks are kept; empty: as long as the installation says.
    click_retention_days: Mapped[int | None]
    # What it may use; empty: as the installation says.
    plan: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name_length"),
        CheckConstraint("click_retention_days BETWEEN 1 AND 36500", name="click_retention_days"),
        CheckConstraint("length(plan) BETWEEN 1 AND 40", name="plan_length"),
    )


class User(DirectoryTable):
    """A person. The address is how they sign in, and how others tell them apart."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    # In lower case.
    email: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    # None: signs in elsewhere only.
    password_hash: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Sessions of browsers that began before count no more.
    signed_out_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Came by an invitation, whose token whoever invited had, too: the address is only their word.
    invited: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))

    __table_args__ = (
        CheckConstraint("email = lower(email) AND length(email) BETWEEN 3 AND 254", name="email"),
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name_length"),
    )


class Membership(DirectoryTable):
    """What a user may do in a workspace."""

    __tablename__ = "memberships"

    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    role: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        CheckConstraint("role IN ('owner', 'editor', 'viewer')", name="role"),
        Index(None, "user_id", "workspace_id"),
        Index(
            "ix_memberships_owners",
            "workspace_id",
            "user_id",
            postgresql_where=text("role = 'owner'"),
        ),
    )


class Invitation(DirectoryTable):
    """An offer to become a member. Of its token only the SHA-256 is kept: it is as random as a key.

    A workspace has at most one open invitation for an address.
    """

    __tablename__ = "invitations"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workspaces.id", ondelete="CASCADE")
    )
    email: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    # None: a key of the workspace itself, or somebody who is no more.
    invited_by: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    accepted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("email = lower(email) AND length(email) BETWEEN 3 AND 254", name="email"),
        CheckConstraint("role IN ('owner', 'editor', 'viewer')", name="role"),
        Index(None, "workspace_id", "id"),
        Index(
            "uq_invitations_open",
            "workspace_id",
            "email",
            unique=True,
            postgresql_where=text("accepted_at IS NULL AND revoked_at IS NULL"),
        ),
    )


class ApiKey(DirectoryTable):
    """A credential. Only its SHA-256 is kept: the key has 256 random bits, so nothing slower is
    needed to keep it from being guessed."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workspaces.id", ondelete="CASCADE")
    )
    # Whose it is: it never gives more than the role that this user has now. None: of the workspace
    # itself, as the first key is.
    user_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(Text)
    # The visible beginning of the key, by which people tell keys apart.
    prefix: Mapped[str] = mapped_column(String(20))
    key_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name_length"),
        Index(None, "workspace_id", "id"),
    )
