"""Runs the migrations of one lineage on the connection that `api.core.database.lineages` gives, or
writes their SQL where it gives none."""

from __future__ import annotations

from alembic import context

attributes = context.config.attributes
connection = attributes["connection"]

if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        output_buffer=attributes["output"],
        version_table=attributes["version_table"],
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    context.configure(
        connection=connection,
        version_table=attributes["version_table"],
        transaction_per_migration=True,
        on_version_apply=attributes["on_step"],
    )
    with context.begin_transaction():
        context.run_migrations()
    # The connection comes with a transaction of its own open, in which Alembic's nest.
    connection.commit()
