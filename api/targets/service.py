"""The rules of block rules: who may have which, and how many."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from api.core.database.routing import Database, WriteSession
from api.core.database.sessions import AnyRow
from api.core.errors import Conflict, NotFound, Unavailable
from api.core.evictions import Evictions
from api.core.ids import new_id
from api.core.pagination import Cursors
from api.targets import store
from api.targets.known import EVICTION_KEY, KnownRules
from api.targets.rules import INSTALLATION, PATTERN, Block, Rule
from api.targets.store import rule_of

__all__ = ["AlreadyBlocked", "BlockedTargets", "TooManyRules", "rule_of"]

log = logging.getLogger(__name__)

_DIRECTORY_SLOT = 0
_GONE = 410
# Every process holds all rules, and asks each link that it loads for each pattern.
_MOST_OF_INSTALLATION = (100_000, 1_000)
_MOST_OF_WORKSPACE = (1_000, 100)
_MOST_OF_ALL = 250_000


class AlreadyBlocked(Conflict):
    """The owner has this rule already."""

    code = "already-blocked"
    title = "The target is blocked already"


class TooManyRules(Conflict):
    """The owner, or the installation as a whole, has as many rules as it may."""

    code = "too-many-rules"
    title = "There are too many block rules"


class BlockedTargets:
    """Adds, lists and removes the rules of one owner: a workspace, or 0 for the installation."""

    def __init__(
        self, db: Database, evictions: Evictions, known: KnownRules, secret: bytes
    ) -> None:
        self._db = db
        self._evictions = evictions
        self._known = known
        self._cursors = Cursors(secret, "blocked-targets")

    def add(self, owner: int, rule: Rule) -> AnyRow:
        """Make a rule.

        Raises:
            AlreadyBlocked: the owner has one of the same host or pattern.
            TooManyRules: there is no room for it.
        """
        rows = self.add_each(owner, [rule])
        if not rows:
            raise AlreadyBlocked(f"There is a rule for {rule.value} already.")
        self.tell()
        return rows[0]

    def add_each(self, owner: int, rules: Sequence[Rule]) -> Sequence[AnyRow]:
        """Make rules, in one transaction; those that the owner has already stay as they are.
        Processes read them within seconds, or once `tell` is called.

        Raises:
            TooManyRules: there is no room for all of them.
        """
        with self._db.write_directory() as session:
            store.lock_changes(session)
            made = store.insert_rules(
                session, owner, [(new_id(_DIRECTORY_SLOT), rule) for rule in rules]
            )
            if made:
                _check_room(session, owner)
                store.note_change(session, owner)
                _check_all(session)
        return made

    def list_rules(
        self, owner: int, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[AnyRow], str | None]:
        """A page of rules, newest first, and the cursor of the next."""
        question = ("blocked-targets", owner)
        before = self._cursors.read(cursor, question)[0] if cursor else None
        with self._db.read_directory() as session:
            rows = store.find_rules(session, owner, before, limit + 1)
        page = rows[:limit]
        more = len(rows) > limit
        return page, self._cursors.write(question, [page[-1].id]) if more else None

    def stream(self, owner: int) -> Iterator[AnyRow]:
        """All rules of an owner, the oldest first."""
        with self._db.read_directory() as session:
            yield from store.stream_rules(session, owner)

    def get_rule(self, owner: int, identifier: int) -> AnyRow:
        """One rule.

        Raises:
            NotFound: the owner has no such rule.
        """
        with self._db.read_directory() as session:
            row = store.get_rule(session, owner, identifier)
        if row is None:
            raise _no_such_rule()
        return row

    def remove(self, owner: int, identifier: int) -> None:
        """Let links lead there again, if no other rule stops them.

        Raises:
            NotFound: the owner has no such rule.
        """
        with self._db.write_directory() as session:
            store.lock_changes(session)
            if store.delete_rule(session, owner, identifier) is None:
                raise _no_such_rule()
            store.note_change(session, owner)
        self.tell()

    def remove_each(self, owner: int, rules: Sequence[Rule]) -> int:
        """Remove the rules of these hosts and patterns, in one transaction; how many there were.
        Then as for `add_each`."""
        values: dict[str, list[str]] = {}
        for rule in rules:
            values.setdefault(rule.kind, []).append(rule.value)
        with self._db.write_directory() as session:
            store.lock_changes(session)
            removed = sum(
                store.delete_values(session, owner, kind, those) for kind, those in values.items()
            )
            if removed:
                store.note_change(session, owner)
        return removed

    @staticmethod
    def stop_links(session: WriteSession, workspace: int) -> None:
        """Have no link of a workspace lead anywhere any more; within a transaction, after which
        `tell` is called."""
        store.lock_changes(session)
        everything = Rule(PATTERN, "*", Block(_GONE, None))
        store.insert_rules(session, workspace, [(new_id(_DIRECTORY_SLOT), everything)])
        store.note_change(session, workspace)

    @staticmethod
    def forget(session: WriteSession, workspace: int) -> int:
        """Delete all rules of a workspace, which is no more; how many. Then as for `stop_links`."""
        store.lock_changes(session)
        deleted = store.delete_all(session, workspace)
        store.note_change(session, workspace)
        return deleted

    def tell(self) -> None:
        """Have every process read the change; this one before the caller is answered."""
        self._evictions.publish([EVICTION_KEY])
        try:
            self._known.look()
        except Unavailable as error:
            log.debug("a block rule was changed, and will be read by the next look: %s", error)


def _check_room(session: WriteSession, owner: int) -> None:
    rules, patterns = store.count_rules(session, owner)
    most = _MOST_OF_INSTALLATION if owner == INSTALLATION else _MOST_OF_WORKSPACE
    if rules > most[0]:
        raise TooManyRules(f"At most {most[0]:,} rules.")
    if patterns > most[1]:
        raise TooManyRules(f"At most {most[1]:,} rules of the kind {PATTERN}.")


def _check_all(session: WriteSession) -> None:
    if store.count_all(session) > _MOST_OF_ALL:
        raise TooManyRules("The installation has no room for more.")


def _no_such_rule() -> NotFound:
    return NotFound("There is no such rule.")
