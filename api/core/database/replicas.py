"""A primary and its replicas: who is read, and who is written."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from api.core.database.fallback import ReplicaOnce, ReplicaSession
from api.core.database.noting import NotingOnce, NotingSession
from api.core.database.positions import Positions
from api.core.database.prepared import ReadOnce, WriteOnce
from api.core.database.replica import Primary, Replica
from api.core.database.servers import Server
from api.core.database.sessions import ReadSession, SlotRange, WriteSession, transaction
from api.core.errors import Unavailable

# Everything that is committed, which only a primary has.
LATEST = math.inf


class ReplicaSet:
    """The servers that hold the same rows.

    A `subject` is whose own writes must be seen, None where nobody's must. `since` is a moment
    (monotonic seconds): what was committed before it must be seen.
    """

    def __init__(
        self,
        name: str,
        primary: Server,
        replicas: Sequence[Server] = (),
        *,
        positions: Positions,
        max_lag_seconds: float = 0.0,
    ) -> None:
        self.name = name
        self.server = primary
        self.primary = Primary(primary)
        self.replicas = tuple(Replica(one, self.primary, max_lag_seconds) for one in replicas)
        self._positions = positions
        self._lock = threading.Lock()
        self._watches = False
        # The moment (monotonic seconds) before which rows of other shards may have come here.
        self.filled_at = -math.inf
        # Why the primary was read instead.
        self.to_primary: Counter[str] = Counter()

    def read(
        self,
        subject: str | None = None,
        foreign: Sequence[SlotRange] = (),
        since: float | None = None,
    ) -> AbstractContextManager[ReadSession]:
        """Read from a server that is fresh enough.

        Raises:
            Unavailable: the primary would be, and is known to be away.
        """
        replica = self._choose(subject, since)
        if replica is None:
            return self.server.read(foreign)
        return transaction(ReplicaSession(replica, self.server, foreign, self._fell_back))

    def write(
        self, subject: str | None = None, foreign: Sequence[SlotRange] = ()
    ) -> AbstractContextManager[WriteSession]:
        """Write to the primary, as `subject`."""
        if subject is None or not self.replicas:
            return self.server.write(foreign)
        place = f"{self.name}:{subject}"
        return transaction(NotingSession(self.server.engine, foreign, self._positions, place))

    def read_once(
        self,
        subject: str | None = None,
        foreign: Sequence[SlotRange] = (),
        since: float | None = None,
    ) -> ReadOnce:
        """As `read`, each question a transaction of its own."""
        replica = self._choose(subject, since)
        if replica is None:
            return self.server.read_once(foreign)
        return ReplicaOnce(replica, self.server, foreign, self._fell_back)

    def write_once(self, subject: str | None = None) -> WriteOnce:
        """As `write`, each command a transaction of its own."""
        if subject is None or not self.replicas:
            return self.server.write_once()
        return NotingOnce(self.server, self._positions, f"{self.name}:{subject}")

    def read_replica(
        self, foreign: Sequence[SlotRange] = ()
    ) -> AbstractContextManager[ReadSession]:
        """Read from a replica, however fresh: for when the primary is away.

        Raises:
            Unavailable: there is none.
        """
        return transaction(ReplicaSession(self._any(), self.server, foreign, self._fell_back))

    def read_replica_once(self) -> ReadOnce:
        """The same, each question a transaction of its own."""
        return ReplicaOnce(self._any(), self.server, (), self._fell_back)

    def servers(self) -> Iterator[Server]:
        """The primary, then the replicas."""
        yield self.server
        for replica in self.replicas:
            yield replica.server

    def dispose(self, *, close: bool = True) -> None:
        """Drop the pooled connections; `close=False` after a fork."""
        with self._lock:
            watches, self._watches = self._watches, False
        if watches and close:
            self.primary.stop()
            for replica in self.replicas:
                replica.stop()
        for server in self.servers():
            server.dispose(close=close)

    def _choose(self, subject: str | None, since: float | None) -> Replica | None:
        """The replica to read, None for the primary."""
        if not self.replicas or since == LATEST:
            return None
        self.watch()
        usable = [
            replica
            for replica in self.replicas
            if replica.usable and replica.fresh_until >= self.filled_at
        ]
        if not usable:
            return self._count("no replica is up")
        if since is not None:
            if not self.primary.answers:
                # How fresh they are cannot be known, and to ask it would take long, each time.
                raise Unavailable("The database does not answer.")
            usable = [replica for replica in usable if replica.fresh_until >= since]
            if not usable:
                return self._count("not fresh enough")
        if subject is None:
            return _least_busy(usable)
        position = self._positions.find(f"{self.name}:{subject}")
        if position is None:
            return self._count("positions are unknown")
        for replica in usable:
            if replica.position < position:
                replica.soon()
        usable = [replica for replica in usable if replica.position >= position]
        return _least_busy(usable) if usable else self._count("behind the subject")

    def _any(self) -> Replica:
        self.watch()
        usable = [replica for replica in self.replicas if replica.usable]
        if not usable:
            raise Unavailable("The database does not answer.")
        return _least_busy(usable)

    def _count(self, reason: str) -> Replica | None:
        """Note why the primary is read."""
        self.to_primary[reason] += 1
        return None

    def _fell_back(self) -> None:
        self._count("a replica failed")

    def watch(self) -> None:
        """Begin to ask the servers, in the process that reads them: never before a fork."""
        if self._watches or not self.replicas:
            return
        with self._lock:
            if not self._watches:
                self._watches = True
                self.primary.start()
                for replica in self.replicas:
                    replica.start()


def _least_busy(replicas: Sequence[Replica]) -> Replica:
    """The less busy of two by chance: near to the least busy, without all running to the same."""
    if len(replicas) == 1:
        return replicas[0]
    one, other = random.sample(replicas, 2)  # nosec B311
    return one if one.busy <= other.busy else other
