"""What a server must have, so that slots can move to it and from it."""

from __future__ import annotations

from sqlalchemy import text

from api.core.database.moving.errors import ShardError
from api.core.database.moving.peers import Peer

# Row filters, and triggers that are replaced.
_LEAST_VERSION = 150_000
_SERVER = text(
    """
    SELECT current_setting('server_version_num')::int AS version,
        current_setting('wal_level') AS wal_level,
        current_setting('max_replication_slots')::int
            - (SELECT count(*) FROM pg_replication_slots) AS free_slots,
        current_setting('max_wal_senders')::int
            - (SELECT count(*) FROM pg_stat_replication) AS free_senders,
        current_setting('max_logical_replication_workers')::int AS workers
    """
)
# A move takes one, and one more for each table that is copied at the same time.
_NEEDED = 3


def check_server(peer: Peer) -> None:
    """Whether slots can move to a server, and from it.

    Raises:
        ShardError: it lacks something.
    """
    with peer.transaction() as connection:
        peer.refuse_pooler(connection)
        found = connection.execute(_SERVER).one()
    complaints = {
        f"PostgreSQL {_LEAST_VERSION // 10_000} or newer is needed": found.version < _LEAST_VERSION,
        f"wal_level must be logical, and is {found.wal_level}": found.wal_level != "logical",
        f"fewer than {_NEEDED} of max_replication_slots are free": found.free_slots < _NEEDED,
        f"fewer than {_NEEDED} of max_wal_senders are free": found.free_senders < _NEEDED,
        f"max_logical_replication_workers is below {_NEEDED}": found.workers < _NEEDED,
    }
    for complaint, is_so in complaints.items():
        if is_so:
            raise ShardError(f"{peer.name}: {complaint}")
