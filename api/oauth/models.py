"""Tables of the directory: OAuth clients, what they were given, and what was revoked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import DirectoryTable


class OAuthClient(DirectoryTable):
    """A program that acts for a workspace or for people (RFC 6749 section 2). Only the SHA-256 of
    its secret is kept: that has 256 random bits, so nothing slower is needed to guard it."""

    __tablename__ = "oauth_clients"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    workspace_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("workspaces.id", ondelete="CASCADE")
    )
    # What the client calls itself by.
    client_id: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(Text)
    # None: a public client, which could keep no secret.
    secret_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    redirect_uris: Mapped[list[str]] = mapped_column(ARRAY(Text))
    grant_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name_length"),
        Index(None, "workspace_id", "id"),
    )


class Revocation(DirectoryTable):
    """Something of which tokens count no more that were issued before a moment.

    A row is of use for as long as such a token could live; every process keeps those that are.
    """

    __tablename__ = "revocations"

    # One of `api.oauth.revocations.KINDS`, and the name of one such thing.
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    before: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    # When it was written, by which others find what is new to them.
    recorded_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp(), index=True
    )


class OAuthGrant(DirectoryTable):
    """A consent: a client may act for a member of a workspace. All tokens that come of it are one
    family, and end together. It ends with the membership."""

    __tablename__ = "oauth_grants"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    oauth_client_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("oauth_clients.id", ondelete="CASCADE"), index=True
    )
    workspace_id: Mapped[int] = mapped_column(BigInteger)
    user_id: Mapped[int] = mapped_column(BigInteger)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        ForeignKeyConstraint(
            ["workspace_id", "user_id"],
            ["memberships.workspace_id", "memberships.user_id"],
            ondelete="CASCADE",
        ),
        Index(None, "workspace_id", "user_id"),
        Index(None, "created_at"),
    )


class OAuthCode(DirectoryTable):
    """An authorization code, good for one use; kept after that, so that a second use shows."""

    __tablename__ = "oauth_codes"

    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    grant_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("oauth_grants.id", ondelete="CASCADE"), index=True
    )
    redirect_uri: Mapped[str] = mapped_column(Text)
    # Of the method S256 (RFC 7636 section 4.2).
    code_challenge: Mapped[str] = mapped_column(String(43))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class OAuthRefreshToken(DirectoryTable):
    """A refresh token, good for one use, which gives the next one. It is kept after that, so that a
    second use shows that somebody else has it, too."""

    __tablename__ = "oauth_refresh_tokens"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    grant_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("oauth_grants.id", ondelete="CASCADE"), index=True
    )
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class OAuthDeviceCode(DirectoryTable):
    """A device that waits for a person to type its code into the page (RFC 8628)."""

    __tablename__ = "oauth_device_codes"

    device_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_code: Mapped[str] = mapped_column(String(9), unique=True)
    oauth_client_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("oauth_clients.id", ondelete="CASCADE"), index=True
    )
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    interval_seconds: Mapped[int]
    polled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # What the person said.
    denied_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    grant_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("oauth_grants.id", ondelete="CASCADE"), index=True
    )
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class OutsideSubject(DirectoryTable):
    """Whom an outside issuer means by a subject: for each issuer a user has one."""

    __tablename__ = "oidc_subjects"

    issuer: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    user_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (UniqueConstraint("issuer", "user_id"),)
