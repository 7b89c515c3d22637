"""Runs the migrations of one lineage on the connection that `api.core.database.migrate` gives."""

from __future__ import annotations

from alembic import context

attributes = context.config.attributes

context.configure(
    connection=attributes["connection"],
    version_table=attributes["version_table"],
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
# The connection comes with a transaction of its own open, in which Alembic's nest.
attributes["connection"].commit()
