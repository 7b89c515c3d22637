"""What a process holds open: pools, the spool, the listener; and when it opens and drops them."""

from __future__ import annotations

from dataclasses import dataclass

from api.clicks.spool import Spool
from api.core.database.routing import Database
from api.core.evictions import Evictions


@dataclass(frozen=True, slots=True)
class Runtime:
    """Kept by the application as `extensions["signpost"]`, for the server's hooks."""

    db: Database
    evictions: Evictions
    spool: Spool

    def dispose_after_fork(self) -> None:
        """Forget connections that belong to the parent process, without closing them."""
        self.db.dispose(close=False)

    def start_worker(self) -> None:
        """Begin in the process that will serve."""
        self.spool.start()
        self.evictions.start()

    def stop_worker(self) -> None:
        """Seal what is recorded, and let go."""
        self.evictions.stop()
        self.spool.close()
        self.db.dispose()
