"""What jobs are called, for who queues them and for who does them."""

from __future__ import annotations

FETCH_TITLE = "titles.fetch"
LOAD_IMPORT = "imports.load"
# Of jobs that wait; what does not fit is offered again later.
MAX_WAITING = 100_000
# A job that nobody took within an hour was offered again long ago.
EXPIRES_SECONDS = 3_600
KEY_PREFIX = "signpost:jobs:"


def redis_key(queue: str) -> str:
    """The list in Redis that is a queue."""
    return KEY_PREFIX + queue
