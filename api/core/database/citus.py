"""All shards behind one URL: the tables, spread over the nodes of a Citus cluster.

Citus distributes by a column that must be part of each primary key, unique index and foreign key
of a distributed table (Citus documentation, "Creating and Modifying Distributed Objects"); ours is
`slot`. Rows of a slot are on one node, whatever table they are in. The directory is small and is
copied to every node.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from sqlalchemy import Connection, MetaData, text

from api.core.database.migrate import MigrationError

_INSTALLED = text("SELECT 1 FROM pg_extension WHERE extname = 'citus'")
_DISTRIBUTED = text("SELECT logicalrelid::regclass::text FROM pg_dist_partition")


def statements(models: Mapping[str, MetaData], done: Collection[str] = ()) -> Iterator[str]:
    """What is to be run, without the tables that are `done`: parents before their children."""
    for table in models["directory"].sorted_tables:
        if table.name not in done:
            yield f"SELECT create_reference_table('{table.name}')"
    first, *others = (table.name for table in models["shard"].sorted_tables)
    if first not in done:
        yield f"SELECT create_distributed_table('{first}', 'slot')"
    for name in others:
        if name not in done:
            yield f"SELECT create_distributed_table('{name}', 'slot', colocate_with => '{first}')"


def distribute(
    connection: Connection, models: Mapping[str, MetaData], report: Callable[[str], None]
) -> None:
    """Spread the migrated tables over the cluster; those that are spread already stay so.

    Raises:
        MigrationError: the database is not Citus's.
    """
    if connection.scalar(_INSTALLED) is None:
        raise MigrationError(
            "DATABASE_URL: The extension Citus is not there; on every node: CREATE EXTENSION citus"
        )
    done = set(connection.scalars(_DISTRIBUTED))
    connection.commit()
    for statement in statements(models, done):
        connection.execute(text(statement))
        connection.commit()
        report(statement.removeprefix("SELECT "))
