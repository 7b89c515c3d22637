"""OAuth clients, and what was revoked before its time.

Whatever changes what somebody may do, by whatever way, writes a revocation in the same transaction:
a token says what its user could do when it was issued, and is judged without asking.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_directory"
down_revision = "0003_directory"
branch_labels = None
depends_on = None

_REVOKING = (
    (
        "memberships",
        "UPDATE OF role OR DELETE",
        "member",
        "OLD.user_id::text || ':' || OLD.workspace_id::text",
    ),
    ("users", "UPDATE OF disabled_at OR DELETE", "user", "OLD.id::text"),
)


def upgrade() -> None:
    now = sa.text("now()")
    op.create_table(
        "oauth_clients",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("workspace_id", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("redirect_uris", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("grant_types", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.CheckConstraint(
            "length(name) BETWEEN 1 AND 200", name=op.f("ck_oauth_clients_name_length")
        ),
        sa.ForeignKeyConstraint(
            ["workspace_id"],
            ["workspaces.id"],
            name=op.f("fk_oauth_clients_workspace_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_clients")),
        sa.UniqueConstraint("client_id", name=op.f("uq_oauth_clients_client_id")),
    )
    op.create_index(
        op.f("ix_oauth_clients_workspace_id_id"), "oauth_clients", ["workspace_id", "id"]
    )
    op.create_table(
        "revocations",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("kind", "subject", name=op.f("pk_revocations")),
    )
    op.create_index(op.f("ix_revocations_ends_at"), "revocations", ["ends_at"])
    op.create_index(op.f("ix_revocations_recorded_at"), "revocations", ["recorded_at"])
    # The margin and the life are those of api/oauth/revocations.py.
    op.execute(
        """
        CREATE FUNCTION revoke_tokens(of_kind text, of_subject text) RETURNS void LANGUAGE sql AS $$
            INSERT INTO revocations AS known (kind, subject, before, ends_at)
            VALUES (of_kind, of_subject, clock_timestamp() + interval '2 s',
                    clock_timestamp() + interval '632 s')
            ON CONFLICT (kind, subject) DO UPDATE SET
                before = greatest(known.before, excluded.before),
                ends_at = greatest(known.ends_at, excluded.ends_at),
                recorded_at = clock_timestamp()
        $$
        """
    )
    for table, change, kind, subject in _REVOKING:
        op.execute(
            f"""
            CREATE FUNCTION {table}_revoke_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM revoke_tokens('{kind}', {subject});
                RETURN NULL;
            END
            $$
            """
        )
        op.execute(
            f"CREATE TRIGGER {table}_revoke_tokens AFTER {change} ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION {table}_revoke_tokens()"
        )


def downgrade() -> None:
    for table, *_ in _REVOKING:
        op.execute(f"DROP TRIGGER {table}_revoke_tokens ON {table}")
        op.execute(f"DROP FUNCTION {table}_revoke_tokens()")
    op.execute("DROP FUNCTION revoke_tokens(text, text)")
    op.drop_table("revocations")
    op.drop_table("oauth_clients")
