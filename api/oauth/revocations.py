"""What was revoked before its time: written to the directory, known to every process.

A token is judged without a query, so each process keeps the revocations that are of use: as long
as a token that they are about could live, ten minutes and the skew of clocks. It asks for new ones
every two seconds, and at once when another process says so through Redis: a revoked token is
refused within five seconds everywhere, Redis or none.

What a member may do and whether a user may do anything is written by triggers of their tables, so
that no way around the service forgets it; the service's own evictions tell others to ask.

Without the directory it goes on with what it knows: a token that is revoked meanwhile lives on,
at most to its own end. A process that never learned of any lets no token in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from api.core.database.routing import Database, WriteSession
from api.core.database.sessions import AnyRow
from api.core.errors import Unavailable
from api.core.evictions import Evictions
from api.identity.recent import USER_PREFIX
from api.oauth import revocation_store as store
from api.oauth.lives import ACCEPTED_SECONDS, SESSION_SECONDS
from api.oauth.tokens import AccessToken

log = logging.getLogger(__name__)

# One token; all that came of one consent; a client's; a member's of one workspace, where roles
# differ; a user's in all of them; and a session of the sign-in page.
TOKEN, GRANT, CLIENT, MEMBER, USER, SESSION = KINDS = (
    "token",
    "grant",
    "client",
    "member",
    "user",
    "session",
)
EVICTION_KEY = "revocations:"
_POLL_SECONDS = 2.0
_TIDY_SECONDS = 900.0
# A row is seen only when its transaction has committed, which may be later than one with a later
# time did: what was written shortly before the last row seen is asked for again.
_OVERLAP = timedelta(seconds=60)
# Who takes something away writes this in the same transaction, while a token may be made of what
# was still there. Transactions that change who may what take milliseconds.
_MARGIN = timedelta(seconds=2)
_LIVES = {SESSION: timedelta(seconds=SESSION_SECONDS)}
_TOKEN_LIFE = timedelta(seconds=ACCEPTED_SECONDS)


def member(user: int, workspace: int) -> str:
    """The subject of the kind `member`."""
    return f"{user}:{workspace}"


def subjects_of(token: AccessToken) -> Iterable[tuple[str, str]]:
    """What a token would end with, beside itself."""
    yield CLIENT, token.client_id
    if token.user_id is not None:
        yield MEMBER, member(token.user_id, token.workspace_id)
        yield USER, str(token.user_id)
    if token.grant_id is not None:
        yield GRANT, str(token.grant_id)


class Revocations:
    """The revocations that this process knows, in seconds since 1970."""

    def __init__(self, db: Database, evictions: Evictions) -> None:
        self._db = db
        self._evictions = evictions
        self._live: dict[tuple[str, str], tuple[float, float]] = {}
        self._since: datetime | None = None
        self._learned = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._tidied = time.monotonic()
        # What else has ended, and is deleted along the way.
        self.on_tidy: list[Callable[[WriteSession], None]] = []
        evictions.on_evict(self._hear)

    def start(self) -> None:
        """Learn of new ones in the background until `stop`."""
        self._stopped.clear()
        threading.Thread(target=self._go_on, name="revocations", daemon=True).start()

    def stop(self) -> None:
        """Stop learning."""
        self._stopped.set()
        self._wake.set()

    def covers(self, token: AccessToken) -> bool:
        """Whether a token is revoked.

        Raises:
            Unavailable: this process knows of no revocation yet, and cannot learn of any.
        """
        if not self._learned:
            self.learn()
        live = self._live
        if not live:
            return False
        if (TOKEN, token.token_id) in live:
            return True
        issued = token.issued_at
        return any(issued <= live[each][0] for each in subjects_of(token) if each in live)

    def has(self, kind: str, subject: str) -> bool:
        """Whether this one thing is revoked, whenever it was made.

        Raises:
            Unavailable: as for `covers`.
        """
        if not self._learned:
            self.learn()
        return (kind, subject) in self._live

    def revoke(self, session: WriteSession, kind: str, subject: str) -> AnyRow:
        """Revoke something, with the transaction of `session`; `tell` is called after it."""
        return store.upsert_revocation(
            session, kind, subject, _MARGIN, _LIVES.get(kind, _TOKEN_LIFE)
        )

    def tell(self, rows: Sequence[AnyRow]) -> None:
        """Make what was revoked known, here and in every process."""
        self._note(rows)
        self._evictions.publish([EVICTION_KEY])

    def learn(self) -> None:
        """Ask for what is new.

        Raises:
            Unavailable: the directory is away.
        """
        since = None if self._since is None else self._since - _OVERLAP
        with self._db.read_directory() as session:
            rows = store.find_revocations(session, since)
        self._note(rows)
        with self._lock:
            self._since = max((row.recorded_at for row in rows), default=self._since)
        self._learned = True

    def _note(self, rows: Sequence[AnyRow]) -> None:
        now = time.time()
        with self._lock:
            # Replaced and not changed: others read it without a lock.
            live = {each: times for each, times in self._live.items() if times[1] > now}
            for row in rows:
                times = (row.before.timestamp(), row.ends_at.timestamp())
                live[row.kind, row.subject] = max(times, live.get((row.kind, row.subject), times))
            self._live = live

    def _hear(self, keys: Sequence[str]) -> None:
        if any(key == EVICTION_KEY or key.startswith(USER_PREFIX) for key in keys):
            self._wake.set()

    def _go_on(self) -> None:
        away = False
        while not self._stopped.is_set():
            self._wake.clear()
            try:
                self.learn()
                self._tidy()
                away = False
            except Unavailable as error:
                if not away:
                    log.warning("revocations cannot be learned: %s", error)
                away = True
            except Exception:
                # Whoever ended here would let revoked tokens in.
                log.exception("learning of revocations failed, and begins again")
            self._wake.wait(_POLL_SECONDS)

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied > _TIDY_SECONDS:
            self._tidied = time.monotonic()
            with self._db.write_directory() as session:
                store.delete_ended(session)
                for tidy in self.on_tidy:
                    tidy(session)
