"""What a process holds open: pools, the spool, the listener; and when it opens and drops them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api.clicks.spool import Spool
from api.core.database.routing import Database
from api.core.evictions import Evictions
from api.redirects.orphans import OrphanVisits

if TYPE_CHECKING:
    from api.clicks.queue.shipper import Shipper

# Once a process is told to stop there is little time: Procfile hosts give 30 seconds in all.
_SHIP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Runtime:
    """Kept by the application as `extensions["signpost"]`, for the server's hooks."""

    db: Database
    evictions: Evictions
    spool: Spool
    orphans: OrphanVisits
    shipper: Shipper | None = None
    on_start: list[Callable[[], None]] = field(default_factory=list)
    # Once for all workers, in the first of them, beside its requests.
    on_first_start: list[Callable[[], None]] = field(default_factory=list)
    on_end_answers: list[Callable[[], None]] = field(default_factory=list)
    on_stop: list[Callable[[], None]] = field(default_factory=list)
    # When all else is done: what tells of it.
    on_end: list[Callable[[], None]] = field(default_factory=list)

    def dispose_after_fork(self) -> None:
        """Forget connections that belong to the parent process, without closing them."""
        self.db.dispose(close=False)

    def start_worker(self) -> None:
        """Begin in the process that will serve."""
        self.spool.start()
        self.orphans.start()
        self.evictions.start()
        if self.shipper is not None:
            self.shipper.start()
        for start in self.on_start:
            start()

    def start_first_worker(self) -> None:
        """Begin what need not be done in each worker."""
        for start in self.on_first_start:
            threading.Thread(target=start, name="first-start", daemon=True).start()

    def end_answers(self) -> None:
        """End the answers that go on until somebody ends them: the process is about to stop."""
        for end in self.on_end_answers:
            end()

    def stop_worker(self) -> None:
        """Seal what is recorded, ship it where there is a broker, and let go."""
        self.end_answers()
        for stop in self.on_stop:
            stop()
        self.evictions.stop()
        self.orphans.stop()
        self.spool.close()
        if self.shipper is not None:
            # The disk may go with the process, as on Procfile hosts.
            self.shipper.stop(_SHIP_SECONDS)
        self.db.dispose()
        for end in self.on_end:
            end()
