"""Loading the most clicked links before anybody asks for them."""

from __future__ import annotations

import heapq
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from api.core.database.routing import LATEST, Database
from api.core.errors import Unavailable
from api.redirects import store
from api.redirects.cache import Judge, Target, TargetCache
from api.redirects.shared import SharedTargets, is_sharable

log = logging.getLogger(__name__)

# Small, as requests are held up while the rows of a page are taken in.
_PAGE = 200
_PAUSE_SECONDS = 0.02
_SYNC_SECONDS = 5.0
_SHARED_PAGE = 500
_STOP_SECONDS = 2.0


class MostClicked:
    """The most clicked links of all shards, page by page; of several shards roughly in order."""

    def __init__(self, db: Database, limit: int, page: int) -> None:
        self._db = db
        self._left = limit
        self._page = page
        # The shard whose next link has the most clicks is the smallest.
        first = store.FIRST
        self._shards = [(-first.magnitude, name, first) for name in db.shards()]
        heapq.heapify(self._shards)
        self._next: store.Position | None = None

    def read(self, since: float = LATEST) -> dict[str, Target] | None:
        """The targets of the page by `domain/slug`, as they are now or were at the moment `since`;
        None behind the last one."""
        if not self._shards or self._left <= 0:
            return None
        _, name, position = self._shards[0]
        with self._db.read_shard(name, since=since) as session:
            page = store.find_most_clicked(session, position, min(self._page, self._left))
        self._next = page.next
        return page.targets

    def advance(self) -> None:
        """Go on to the page behind the one that was read."""
        _, name, _ = heapq.heappop(self._shards)
        if self._next is not None:
            heapq.heappush(self._shards, (-self._next.magnitude, name, self._next))
        self._left -= self._page


class WarmStart:
    """Fills the cache of a process that has just begun, beside its requests."""

    def __init__(
        self, db: Database, cache: TargetCache, *, entries: int, life_seconds: float, hears: bool
    ) -> None:
        """At most `entries` are loaded; `hears` tells whether evictions will arrive."""
        self._db = db
        self._cache = cache
        self._entries = entries
        self._life_seconds = life_seconds
        self._hears = hears
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin in the background."""
        if self._entries:
            self._thread = threading.Thread(target=self._run, name="warm-start", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Load no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def load(self) -> int:
        """Load; answers how many links were.

        Raises:
            Unavailable: the database is away.
        """
        self._wait_until_synced()
        loaded, links = 0, MostClicked(self._db, self._entries, _PAGE)
        while not self._stopped.is_set():
            generations = self._cache.generations()
            targets = links.read(self._cache.all_fresh_from())
            if targets is None:
                break
            for key, target in targets.items():
                # Not all at once: all of them would have to be read again in the same moment.
                seconds = self._life_seconds * random.uniform(0.5, 1.0)  # nosec B311 # noqa: S311
                self._cache.put_absent(key, target, generations.of(key), seconds=seconds)
            loaded += len(targets)
            links.advance()
            self._stopped.wait(_PAUSE_SECONDS)
        return loaded

    def _run(self) -> None:
        try:
            loaded = self.load()
        except Unavailable as error:
            log.info("no links are loaded at the start: %s", error)
        except Exception:
            log.exception("the most clicked links could not be loaded at the start")
        else:
            log.info("%d links were loaded at the start", loaded)

    def _wait_until_synced(self) -> None:
        # What is put before evictions begin to arrive is made stale when they do.
        deadline = time.monotonic() + _SYNC_SECONDS
        while self._hears and not self._cache.synced and time.monotonic() < deadline:
            if self._stopped.wait(_PAUSE_SECONDS):
                return


@dataclass(slots=True)
class Warmed:
    """What came of filling Redis."""

    links: int = 0
    shared: int = 0
    # Links with a password are not shared.
    protected: int = 0
    # Links that were changed in the last seconds are left to those who read them later.
    changed: int = 0


def fill_shared(
    db: Database,
    shared: SharedTargets | None,
    limit: int,
    on_page: Callable[[int], None],
    judge: Judge = lambda target: target,
) -> Warmed:
    """Share the `limit` most clicked links, as `judge` finds them; without `shared`, only count
    them.

    Raises:
        RedisError, Unavailable: Redis or the database is away.
    """
    warmed, links = Warmed(), MostClicked(db, limit, _SHARED_PAGE)
    while (targets := links.read()) is not None:
        protected = sum(not is_sharable(target) for target in targets.values())
        kept = len(targets) - protected
        if shared is not None:
            # The links are read after Redis was asked what it holds: as for a visitor, this is
            # what keeps a link that changes meanwhile from being shared as it was.
            looks = shared.look_each(list(targets))
            again = links.read() or {}
            kept = shared.keep_each({key: judge(it) for key, it in again.items()}, looks)
        warmed.links += len(targets)
        warmed.shared += kept
        warmed.protected += protected
        warmed.changed += len(targets) - protected - kept
        links.advance()
        on_page(_SHARED_PAGE)
    return warmed
