"""The block rules as this process knows them: read when they change, and asked without waiting.

Of a change a process hears through `Evictions` at once, and finds it by itself within two seconds
where nothing can be heard. While the database is away, the rules that were known last go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from api.core.database.routing import Database
from api.core.errors import Invalid, Unavailable
from api.core.evictions import Evictions
from api.targets import store
from api.targets.rules import Block, OwnRules, Rule, RuleSet

log = logging.getLogger(__name__)

EVICTION_KEY = "target-rules:"
_POLL_SECONDS = 2.0
# The least time between two looks, however often rules change.
_PAUSE_SECONDS = 0.05
_FIRST_LOOK_SECONDS = 1.0
_STOP_SECONDS = 2.0

# Told of the rules that are new, of all rules, and whose were changed.
ChangeListener = Callable[[RuleSet, RuleSet, frozenset[int]], None]


class KnownRules:
    """Asks between `start()` and `stop()`; safe for the threads and greenlets of one process."""

    def __init__(self, db: Database, evictions: Evictions) -> None:
        self._db = db
        self._rules = RuleSet()
        # Of the newest change that was read; None: not even that there are none is known.
        self._version: int | None = None
        self._listeners: list[ChangeListener] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._looked = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        evictions.on_evict(self._hear)

    @property
    def known(self) -> bool:
        """Whether the rules were read at all."""
        return self._version is not None

    @property
    def rules(self) -> RuleSet:
        """All rules as they are now."""
        return self._rules

    def on_change(self, listener: ChangeListener) -> None:
        """Call `listener` when rules came or went; one change after the other."""
        self._listeners.append(listener)

    def block_of(self, workspace: int, url: str) -> Block | None:
        """What stops a link of `workspace` from leading to `url`, None where nothing does."""
        return self._rules.block_of(workspace, url)

    def check(self, workspace: int, url: str, pointer: str) -> None:
        """Refuse a link of `workspace` that would lead to `url`.

        Raises:
            Invalid: a rule stops it.
        """
        block = self.block_of(workspace, url)
        if block is not None:
            reason = f": {block.reason}" if block.reason else "."
            raise Invalid.field(pointer, f"Links may not lead there{reason}")

    def start(self) -> None:
        """Begin in this process. Waits a moment for the first look, so that nothing is judged by
        no rules; not longer, as redirects go on without a database."""
        # New ones: those of before a fork may be held by a thread that is not here.
        self._lock = threading.Lock()
        self._wake, self._looked = threading.Event(), threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="target-rules", daemon=True)
        self._thread.start()
        self._looked.wait(_FIRST_LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def look(self) -> None:
        """Read what was changed since the last look.

        Raises:
            Unavailable: the directory is away.
        """
        with self._lock:
            version, owners = self._changes()
            if version == self._version:
                return
            before = self._rules
            after = before.replaced({owner: self._read(owner) for owner in owners})
            added = after.added_since(before, owners)
            self._rules, self._version = after, version
            for listener in self._listeners:
                listener(added, after, owners)

    def _changes(self) -> tuple[int, frozenset[int]]:
        """The version of the newest change, and whose rules were changed since the last look."""
        known = self._version or 0
        with self._db.read_directory_once() as connection:
            rows = store.ask_changes(connection, known)
            if not rows and known:
                # Another history, such as a backup that was restored: begin anew.
                rows = store.ask_changes(connection, 0)
                everybody = frozenset(row.owner_id for row in rows) | self._rules.owners()
                return (rows[-1].version if rows else 0), everybody
        newest = rows[-1].version if rows else 0
        return newest, frozenset(row.owner_id for row in rows if row.version > known)

    def _read(self, owner: int) -> OwnRules:
        return OwnRules.of(self._pages(owner))

    def _pages(self, owner: int) -> Iterable[Rule]:
        after: int | None = -1
        while after is not None:
            with self._db.read_directory_once() as connection:
                rules, after = store.ask_rules(connection, owner, after)
            yield from rules
            time.sleep(0)  # let requests have their turn: there may be many pages

    def _hear(self, keys: Sequence[str]) -> None:
        if EVICTION_KEY in keys:
            self._wake.set()

    def _run(self) -> None:
        stopping, wake = self._stopping, self._wake
        while not stopping.is_set():
            wake.clear()
            try:
                self.look()
            except Unavailable as error:
                log.debug("target rules: %s", error)
            except Exception:
                # A loop that ended here would never hear of a rule again.
                log.exception("the block rules could not be read, and will be tried again")
            self._looked.set()
            stopping.wait(_PAUSE_SECONDS)
            wake.wait(_POLL_SECONDS)
