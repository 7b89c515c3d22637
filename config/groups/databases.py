"""PostgreSQL: where it is, and how much of it a process uses."""

from __future__ import annotations

from dataclasses import dataclass

from config import kinds
from config.declaring import flag, integer, seconds, setting


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """PostgreSQL: where it is, and how much of it a process uses."""

    database_url: str | None = setting(
        None,
        kinds.database_url,
        "PostgreSQL URL of the directory and the first shard, with `?sslmode=verify-full&"
        "sslrootcert=ca.pem` where others could listen; default: the embedded server.",
    )
    migration_database_url: str | None = setting(
        None,
        kinds.database_url,
        "The same database without a pooler between, such as PgBouncer, for `scripts/migrate`, "
        "which holds a lock for longer than a transaction; default: `DATABASE_URL`.",
    )
    migration_shard_urls: tuple[tuple[str, str], ...] = setting(
        (),
        kinds.named_database_urls,
        "`name=url,…`: the same for further shards; default: as `SHARD_URLS` or the directory has "
        "them.",
    )
    database_replica_urls: tuple[str, ...] = setting(
        (),
        kinds.database_urls,
        "URLs of servers that replicate `DATABASE_URL` by streaming, separated by commas: they "
        "take the reads that they are fresh enough for.",
    )
    shard_urls: tuple[tuple[str, str], ...] = setting(
        (),
        kinds.named_database_urls,
        "`name=url,…`: addresses of further shards, for those whose address the directory does "
        "not have or has otherwise; see docs/shards.md.",
    )
    shard_replica_urls: tuple[tuple[str, str], ...] = setting(
        (),
        kinds.named_database_urls,
        "`name=url,…`: servers that replicate shards; a name may come several times.",
    )
    db_max_replica_lag_seconds: float = setting(
        5.0,
        kinds.seconds(low=2, high=10),
        "How far a replica may be behind before it is left out, from 2 to 10; what somebody wrote "
        "they see at once in any case.",
    )
    db_pool_size: int = integer(
        5,
        "Connections kept per database and process for transactions, and at most as many for "
        "single statements.",
        1,
        500,
    )
    db_max_overflow: int = integer(
        5, "Connections for transactions above the pool size under load.", 0, 500
    )
    db_pool_timeout_seconds: float = seconds(
        2.0, "Longest wait for a pooled connection; then the answer is 503."
    )
    db_connect_timeout_seconds: int = integer(3, "Longest wait for a new connection.", 1, 60)
    db_statement_timeout_seconds: float = seconds(5.0, "Longest run of one SQL statement.")
    db_lock_timeout_seconds: float = seconds(
        2.0, "Longest wait of a statement for a lock that another transaction holds."
    )
    db_idle_transaction_seconds: float = seconds(
        15.0, "Longest pause within a transaction, after which PostgreSQL ends its connection."
    )
    db_pgbouncer: bool = flag(
        False,
        "The database URLs lead through PgBouncer, which gives connections for a transaction only: "
        "these limits are then set in each transaction; see docs/database.md.",
    )
