"""What stops work on shards, in words for whoever runs it."""

from __future__ import annotations

from api.core.errors import Conflict


class ShardError(Conflict):
    """Something is not as this work needs it; the message says what."""


class MoveDelayed(ShardError):
    """Writes would have waited too long; the slots are open again where they were."""


class RowsDiffer(ShardError):
    """What was copied is not what is there."""
