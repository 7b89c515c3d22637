"""What a database that does not answer means to a client: a later try may work."""

from __future__ import annotations

import logging
from typing import Any

from api.core.dependencies import Dependency, reason_of
from api.core.errors import Unavailable
from api.core.seldom import Seldom

log = logging.getLogger(__name__)

# What the fence of a shard says; see `api.core.database.moving.fences`.
_FOREIGN_SLOT = "SP001"


class Moved(Unavailable):
    """The slot has gone to another shard, and the map that said otherwise was out of date."""


# Classes of SQLSTATE that say it is not the statement (PostgreSQL, appendix A): a connection that
# failed, and a server that goes or comes.
SERVER_GONE = ("08", "57P")
_READ_ONLY, _LOCK_TIMEOUT = "25006", "55P03"
# Under load these come by the hundred; each request that they fail has a line of its own.
_exhausted = Seldom(log, "database pool exhausted: %s")
_outdated = Seldom(log, "written by a map that is out of date: %s")
_slow = Seldom(log, "a database is too slow, or refuses a statement: %s")


def busy(error: object) -> Unavailable:
    """All connections of the pool stayed in use."""
    _exhausted.tell(error)
    return Unavailable("The database is busy.")


def away(error: object, database: Dependency) -> Unavailable:
    """No connection, or no answer in time."""
    code = getattr(error, "pgcode", None)
    if code is None or code == _READ_ONLY or str(code).startswith(SERVER_GONE):
        database.failed(error)
    else:
        _slow.tell(reason_of(error))
    if code == _LOCK_TIMEOUT:  # it answers very well
        return Unavailable("The database is busy.")
    return Unavailable("The database does not answer.")


def is_read_only(error: object) -> bool:
    """Whether a statement that writes was refused where nothing can be written: what was the
    primary has become a replica, or is about to (SQLSTATE 25006)."""
    return getattr(error, "pgcode", None) == _READ_ONLY


def moved(error: Any) -> Moved | None:
    """Whether a shard refused rows because they belong to another."""
    if getattr(error, "pgcode", None) != _FOREIGN_SLOT:
        return None
    _outdated.tell(reason_of(error))
    return Moved("The link has just been moved to another database.", retry_after_seconds=1)
