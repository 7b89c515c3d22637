"""Tables of the directory: OAuth clients, and what was revoked before its time."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
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
