"""What a database that does not answer means to a client: a later try may work."""

from __future__ import annotations

import logging

from api.core.errors import Unavailable

log = logging.getLogger(__name__)


def busy(error: object) -> Unavailable:
    """All connections of the pool stayed in use."""
    log.warning("database pool exhausted: %s", error)
    return Unavailable("The database is busy.")


def away(error: object) -> Unavailable:
    """No connection, or no answer in time."""
    log.warning("database away or too slow: %s", str(error).strip())
    return Unavailable("The database does not answer.")
