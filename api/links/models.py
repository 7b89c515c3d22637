"""Tables of a shard: links, their tags and their click totals."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Index,
    Integer,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from api.core.database.tables import ShardTable

# ASCII punctuation becomes a space, so that each part of an address is a word that can be found; by
# a regular expression, as `translate` looks each character up in its list of 32, and takes four
# times as long. The workspace is a word too, one that no search can spell: a search touches only
# its rows.
SEARCH_EXPRESSION = (
    "array_to_tsvector(ARRAY['/' || workspace_id::text]) || to_tsvector('simple'::regconfig, "
    "regexp_replace(coalesce(title, '') || ' ' || slug || ' ' || url, "
    "'[!-/:-@[-`{-~]', ' ', 'g'))"
)


class Link(ShardTable):
    """A slug on a domain, and where it leads."""

    __tablename__ = "links"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    workspace_id: Mapped[int] = mapped_column(BigInteger)
    domain: Mapped[str] = mapped_column(Text)
    slug: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    title: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    starts_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    max_clicks: Mapped[int | None] = mapped_column(BigInteger)
    # Redirects granted so far; kept only for links that have a limit.
    uses: Mapped[int] = mapped_column(BigInteger, server_default="0")
    password_hash: Mapped[str | None] = mapped_column(Text)
    redirect_status: Mapped[int] = mapped_column(SmallInteger, server_default="302")
    forward_query: Mapped[bool] = mapped_column(server_default="false")
    enabled: Mapped[bool] = mapped_column(server_default="true")
    # Not `metadata`, which SQLAlchemy keeps for itself.
    custom: Mapped[dict[str, Any]] = mapped_column(
        "metadata", JSONB, key="custom", server_default="{}"
    )
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    # A deleted link stays as a row, so that its slug goes on answering 410.
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    search: Mapped[Any] = mapped_column(TSVECTOR, Computed(SEARCH_EXPRESSION, persisted=True))

    __table_args__ = (
        CheckConstraint("slot BETWEEN 0 AND 1023", name="slot"),
        CheckConstraint("redirect_status IN (301, 302, 307, 308)", name="redirect_status"),
        CheckConstraint("max_clicks > 0", name="max_clicks"),
        CheckConstraint("expires_at > starts_at", name="period"),
        CheckConstraint("length(slug) BETWEEN 1 AND 200", name="slug_length"),
        CheckConstraint("length(url) BETWEEN 1 AND 8192", name="url_length"),
        Index("uq_links_slot_domain_slug", "slot", "domain", "slug", unique=True),
        Index(
            "ix_links_created", "workspace_id", "id", postgresql_where=text("deleted_at IS NULL")
        ),
        Index(
            "ix_links_updated",
            "workspace_id",
            "updated_at",
            "id",
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "ix_links_domain",
            "workspace_id",
            "domain",
            "id",
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "ix_links_address",
            "workspace_id",
            func.md5(text("url")),
            "id",
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("ix_links_search", "search", postgresql_using="gin"),
        # What was clicked of these is exported, too.
        Index(
            "ix_links_deleted",
            "workspace_id",
            "id",
            postgresql_where=text("deleted_at IS NOT NULL"),
        ),
        # The states other than active are rare; each has its own small index, in order of id.
        Index("ix_links_disabled", "workspace_id", "id", postgresql_where=text("NOT enabled")),
        Index(
            "ix_links_starting",
            "workspace_id",
            "id",
            postgresql_where=text("starts_at IS NOT NULL"),
        ),
        Index(
            "ix_links_expiring",
            "workspace_id",
            "id",
            postgresql_where=text("expires_at IS NOT NULL"),
        ),
        Index(
            "ix_links_limited",
            "workspace_id",
            "id",
            postgresql_where=text("max_clicks IS NOT NULL"),
        ),
    )


class LinkTag(ShardTable):
    """One tag of one link: what a list by tag is read from.

    Tags are written with their links, and go when those are deleted; a foreign key would look the
    link of each tag up once more.
    """

    __tablename__ = "link_tags"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    link_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    tag: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "workspace_id", "tag", "link_id"),)


class LinkTotal(ShardTable):
    """All clicks of a link, bots included."""

    __tablename__ = "link_totals"

    slot: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    link_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    clicks: Mapped[int] = mapped_column(BigInteger)
    last_clicked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    # Clicks in steps of 28 %, for an order by index. An index on `clicks` itself would be written
    # with each addition; one on a column that seldom changes lets PostgreSQL leave all indexes
    # alone (heap-only tuples).
    magnitude: Mapped[int] = mapped_column(
        SmallInteger,
        Computed("(floor(4 * ln(greatest(clicks, 1)::float8)))::smallint", persisted=True),
    )

    __table_args__ = (Index("ix_link_totals_magnitude", "magnitude", "slot", "link_id"),)
