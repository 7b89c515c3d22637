"""Links, clicks and their counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001_shard"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "click_counts",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("subject", sa.SmallInteger(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("dimension", sa.SmallInteger(), nullable=False),
        sa.Column("quarter", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bot", sa.Boolean(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("clicks", sa.BigInteger(), nullable=False),
        sa.Column("visitors", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("clicks > 0", name=op.f("ck_click_counts_clicks")),
        sa.PrimaryKeyConstraint(
            "slot",
            "subject",
            "subject_id",
            "dimension",
            "quarter",
            "bot",
            "value",
            name=op.f("pk_click_counts"),
        ),
    )
    op.create_table(
        "clicks",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("link_id", sa.BigInteger(), nullable=False),
        sa.Column("clicked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("visitor", sa.BigInteger(), nullable=False),
        sa.Column("bot", sa.Boolean(), nullable=False),
        sa.Column("country", sa.String(length=2), server_default="", nullable=False),
        sa.Column("referrer", sa.Text(), server_default="", nullable=False),
        sa.Column("browser", sa.Text(), server_default="", nullable=False),
        sa.Column("system", sa.Text(), server_default="", nullable=False),
        sa.Column("device", sa.Text(), server_default="", nullable=False),
        sa.Column("language", sa.Text(), server_default="", nullable=False),
        sa.Column("utm_source", sa.Text(), server_default="", nullable=False),
        sa.Column("utm_medium", sa.Text(), server_default="", nullable=False),
        sa.Column("utm_campaign", sa.Text(), server_default="", nullable=False),
        sa.Column("utm_term", sa.Text(), server_default="", nullable=False),
        sa.Column("utm_content", sa.Text(), server_default="", nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("slot", "link_id", "clicked_at", "id", name=op.f("pk_clicks")),
        postgresql_partition_by="RANGE (clicked_at)",
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=32), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("headers", postgresql.JSONB(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("slot", "workspace_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "ingested_segments",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("segment_id", sa.String(length=64), nullable=False),
        sa.Column(
            "ingested_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("slot", "segment_id", name=op.f("pk_ingested_segments")),
    )
    op.create_index(
        op.f("ix_ingested_segments_ingested_at"), "ingested_segments", ["ingested_at"], unique=False
    )
    op.create_table(
        "link_totals",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("link_id", sa.BigInteger(), nullable=False),
        sa.Column("clicks", sa.BigInteger(), nullable=False),
        sa.Column("last_clicked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("slot", "link_id", name=op.f("pk_link_totals")),
    )
    op.create_table(
        "links",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("max_clicks", sa.BigInteger(), nullable=True),
        sa.Column("uses", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("redirect_status", sa.SmallInteger(), server_default="302", nullable=False),
        sa.Column("forward_query", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("metadata", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed(
                "array_to_tsvector(ARRAY['/' || workspace_id::text]) || to_tsvector('simple'::regconfig, regexp_replace(coalesce(title, '') || ' ' || slug || ' ' || url, '[!-/:-@[-`{-~]', ' ', 'g'))",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.CheckConstraint("expires_at > starts_at", name=op.f("ck_links_period")),
        sa.CheckConstraint("length(slug) BETWEEN 1 AND 200", name=op.f("ck_links_slug_length")),
        sa.CheckConstraint("length(url) BETWEEN 1 AND 8192", name=op.f("ck_links_url_length")),
        sa.CheckConstraint("max_clicks > 0", name=op.f("ck_links_max_clicks")),
        sa.CheckConstraint(
            "redirect_status IN (301, 302, 307, 308)", name=op.f("ck_links_redirect_status")
        ),
        sa.CheckConstraint("slot BETWEEN 0 AND 1023", name=op.f("ck_links_slot")),
        sa.PrimaryKeyConstraint("slot", "id", name=op.f("pk_links")),
    )
    op.create_index(
        "ix_links_created",
        "links",
        ["workspace_id", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_links_disabled",
        "links",
        ["workspace_id", "id"],
        unique=False,
        postgresql_where=sa.text("NOT enabled"),
    )
    op.create_index(
        "ix_links_domain",
        "links",
        ["workspace_id", "domain", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_links_expiring",
        "links",
        ["workspace_id", "id"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_links_limited",
        "links",
        ["workspace_id", "id"],
        unique=False,
        postgresql_where=sa.text("max_clicks IS NOT NULL"),
    )
    op.create_index("ix_links_search", "links", ["search"], unique=False, postgresql_using="gin")
    op.create_index(
        "ix_links_starting",
        "links",
        ["workspace_id", "id"],
        unique=False,
        postgresql_where=sa.text("starts_at IS NOT NULL"),
    )
    op.create_index(
        "ix_links_updated",
        "links",
        ["workspace_id", "updated_at", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_links_url", "links", ["workspace_id", sa.literal_column("md5(url)")], unique=False
    )
    op.create_index("uq_links_slot_domain_slug", "links", ["slot", "domain", "slug"], unique=True)
    op.create_table(
        "link_tags",
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("link_id", sa.BigInteger(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["slot", "link_id"],
            ["links.slot", "links.id"],
            name=op.f("fk_link_tags_slot_link_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("slot", "link_id", "tag", name=op.f("pk_link_tags")),
    )
    op.create_index(
        op.f("ix_link_tags_workspace_id_tag_link_id"),
        "link_tags",
        ["workspace_id", "tag", "link_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_table("link_tags")
    op.drop_table("links")
    op.drop_table("link_totals")
    op.drop_table("ingested_segments")
    op.drop_table("idempotency_keys")
    op.drop_table("clicks")
    op.drop_table("click_counts")
