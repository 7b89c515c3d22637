"""What a database that does not answer means to a client: a later try may work."""

from __future__ import annotations

import logging
from typing import Any

from api.core.errors import Unavailable

log = logging.getLogger(__name__)

# What the fence of a shard says; see `api.core.database.moving.fences`.
_FOREIGN_SLOT = "SP001"


class Moved(Unavailable):
    """The slot has gone to another shard, and the map that said otherwise was out of date."""


def busy(error: object) -> Unavailable:
    """All connections of the pool stayed in use."""
    log.warning("database pool exhausted: %s", error)
    return Unavailable("The database is busy.")


def away(error: object) -> Unavailable:
    """No connection, or no answer in time."""
    log.warning("database away or too slow: %s", str(error).strip())
    if getattr(error, "pgcode", None) == "55P03":  # lock_timeout: it answers very well
        return Unavailable("The database is busy.")
    return Unavailable("The database does not answer.")


def is_read_only(error: object) -> bool:
    """Whether a statement that writes was refused where nothing can be written: what was the
    primary has become a replica, or is about to (SQLSTATE 25006)."""
    return getattr(error, "pgcode", None) == "25006"


def first_line(error: object) -> str:
    """What an error says, without libpq's explanations below it."""
    return str(error).strip().partition("\n")[0]


def moved(error: Any) -> Moved | None:
    """Whether a shard refused rows because they belong to another."""
    if getattr(error, "pgcode", None) != _FOREIGN_SLOT:
        return None
    log.warning("written by a map that is out of date: %s", str(error).strip().splitlines()[0])
    return Moved("The link has just been moved to another database.", retry_after_seconds=1)
