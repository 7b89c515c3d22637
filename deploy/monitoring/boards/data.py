"""What Signpost stands on: PostgreSQL, its replicas and pools, Redis, RabbitMQ."""

from __future__ import annotations

from typing import Any

from boards.drawing import board, graph

_HERE = 'instance=~"$instance"'


def make() -> Any:
    """Dependencies, as the processes find them."""
    return board(
        "data",
        "data",
        "PostgreSQL with its replicas and pools, Redis and RabbitMQ, as our processes find them.",
        {
            "Dependencies": [
                graph(
                    "Up",
                    "Whether all processes that need it are answered (1) or not (0).",
                    {"{{dependency}}": "min by (dependency) (signpost_dependency_up)"},
                    most=1,
                ),
                graph(
                    "Broker, by host",
                    "Whether RabbitMQ takes segments from the workers of a host.",
                    {"{{instance}}": f"min by (instance) (signpost_broker_up{{{_HERE}}})"},
                    most=1,
                ),
            ],
            "Pools of connections": [
                _pool("In use", "Of those that are allowed; docs/database.md.", "checked_out"),
                _pool("Idle", "Open, and of no use now.", "idle"),
                _pool("Beyond the size", "Opened for a peak, and closed after it.", "overflow"),
                _pool("Waiting", "Who waits for a connection.", "waiting"),
                graph(
                    "In vain",
                    "Who waited for a connection and got none: they were answered 503.",
                    {
                        "{{database}} {{pool}}": "sum by (database, pool) (increase("
                        f"signpost_db_pool_exhausted_total{{{_HERE}}}[$__rate_interval]))"
                    },
                    width=8,
                ),
                _pool("Size", "Connections that are kept.", "size"),
            ],
            "Replicas": [
                graph(
                    "Read",
                    "Whether a replica is read (1) or left out (0).",
                    {"{{replica}}": "min by (replica) (signpost_replica_up)"},
                    most=1,
                ),
                graph(
                    "Lag",
                    "For how long a replica misses something.",
                    {"{{replica}}": "max by (replica) (signpost_replica_lag_seconds)"},
                    unit="s",
                    limit=5,
                ),
                graph(
                    "Reads",
                    "Taken by each replica.",
                    {
                        "{{replica}}": "sum by (replica) "
                        "(rate(signpost_replica_reads_total[$__rate_interval]))"
                    },
                    unit="ops",
                    width=8,
                ),
                graph(
                    "Reads of primaries, and why",
                    "What no replica could take.",
                    {
                        "{{shard}}: {{reason}}": "sum by (shard, reason) "
                        "(rate(signpost_primary_reads_total[$__rate_interval]))"
                    },
                    unit="ops",
                    width=8,
                ),
                graph(
                    "Left out",
                    "How often a replica was.",
                    {
                        "{{replica}}": "sum by (replica) "
                        "(increase(signpost_replica_ejections_total[$__rate_interval]))"
                    },
                    width=8,
                ),
            ],
            "Limits": [
                graph(
                    "Counted",
                    "In Redis, for all processes; in the process alone while Redis is away.",
                    {
                        "{{counted}}": "sum by (counted) "
                        "(rate(signpost_limit_decisions_total[$__rate_interval]))"
                    },
                    unit="ops",
                    stacked=True,
                ),
                graph(
                    "Refused",
                    "By limit: calls that were answered 429.",
                    {
                        "{{limit}}": "sum by (limit) (rate(signpost_limit_decisions_total"
                        '{outcome="refused"}[$__rate_interval]))'
                    },
                    unit="ops",
                ),
            ],
        },
    )


def _pool(title: str, description: str, which: str) -> Any:
    query = f"sum by (database, pool) (signpost_db_pool_{which}{{{_HERE}}})"
    return graph(title, description, {"{{database}} {{pool}}": query}, width=8)
