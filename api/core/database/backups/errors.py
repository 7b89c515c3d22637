"""What stops a backup or a restore, in words for whoever runs it."""

from __future__ import annotations

from api.core.errors import Conflict


class BackupError(Conflict):
    """Something is not as this work needs it; the message says what."""


class Busy(BackupError):
    """Somebody has a table whose writers were to wait, for longer than they may."""


class Damaged(BackupError):
    """A backup is not what it was when it was made."""
