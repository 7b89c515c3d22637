"""A primary and a replica as this process knows them, from probes in the background.

How fresh a replica is can be told without any server's clock. The primary is asked for its position
in the write-ahead log now and then: what was committed before the question lies before the answer.
So a replica that has replayed past that position has all that was committed before the moment at
which this process asked.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from bisect import bisect_right
from collections import deque

import psycopg2

from api.core.database.hosts import Hosts
from api.core.database.positions import position_of
from api.core.database.probes import Probe, Repeated
from api.core.database.servers import Server
from api.core.dependencies import reason_of

log = logging.getLogger(__name__)

_PROBE_SECONDS = 0.5
_DEADLINE_SECONDS = 1.0
# Who was not heard of for so long is not asked by requests, whatever the reason.
_SILENT_SECONDS = 3.0
# Good answers in a row before a replica that was left out is read again.
_GOOD_ANSWERS = 3
_SAMPLES = 240

_PRIMARY = """
SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END
"""
_REPLICA = "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()"

UP = "up"
# Not asked yet.
UNKNOWN = "unknown"
AWAY = "away"
LAGGING = "lagging"
AHEAD = "ahead"
PROMOTED = "promoted"


class Samples:
    """Where the primary's log ended at moments (monotonic seconds) of this process."""

    def __init__(self) -> None:
        self._moments: deque[float] = deque(maxlen=_SAMPLES)
        self._positions: deque[int] = deque(maxlen=_SAMPLES)
        self._lock = threading.Lock()

    def add(self, moment: float, position: int) -> None:
        """Note that what was committed before `moment` lies before `position`."""
        with self._lock:
            if self._positions and position < self._positions[-1]:
                # Another server, which had not got everything when it was promoted.
                self._moments.clear()
                self._positions.clear()
            self._moments.append(moment)
            self._positions.append(position)

    def fresh_until(self, position: int) -> float:
        """The moment up to which whoever has replayed `position` has everything."""
        with self._lock:
            index = bisect_right(self._positions, position)
            return self._moments[index - 1] if index else -math.inf

    def began(self) -> float:
        """The moment of the oldest sample."""
        with self._lock:
            return self._moments[0] if self._moments else math.inf

    def last(self) -> tuple[float, int] | None:
        """The newest sample."""
        with self._lock:
            return (self._moments[-1], self._positions[-1]) if self._moments else None


class Primary:
    """Where writes go: whether it answers, and where its log ends."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.samples = Samples()
        self.answered_at = -math.inf
        self._away = False
        self._probe = Probe(Hosts(server.parameters), _DEADLINE_SECONDS)
        self._place: tuple[str | None, int] | None = None
        self._repeated = Repeated(f"probe-{server.name}", self._ask, _PROBE_SECONDS)

    def start(self) -> None:
        """Begin to ask it now and then."""
        self._repeated.start()

    @property
    def is_away(self) -> bool:
        """Whether it did not answer when it was asked last."""
        return self._away

    @property
    def answers(self) -> bool:
        """Whether it answered a moment ago, so that it is known how far replicas are behind."""
        return not self._away and time.monotonic() - self.answered_at < _SILENT_SECONDS

    def stop(self) -> None:
        """Ask no more."""
        self._repeated.stop(_DEADLINE_SECONDS)
        self._probe.close()

    def _ask(self) -> None:
        moment = time.monotonic()
        try:
            read_only, position = self._probe.ask(_PRIMARY)
            if read_only:
                raise psycopg2.OperationalError("it can only be read")
        except psycopg2.Error as error:
            self._probe.close()
            self.server.found.failed(error)
            if not self._away:
                # What is pooled leads to the same server, or to where nobody answers.
                self.server.dispose()
            self._away = True
            return
        self._note_place(self._probe.place)
        self.samples.add(moment, position_of(position))
        self.answered_at = time.monotonic()
        self._away = False
        self.server.found.answered()

    def _note_place(self, place: tuple[str | None, int]) -> None:
        if self._place is not None and self._place != place:
            self.server.dispose()
            log.warning("primary %s is at %s:%s now", self.server.name, *place)
        self._place = place


class Replica:
    """Whether a replica can be read, and for whom."""

    def __init__(self, server: Server, primary: Primary, max_lag_seconds: float) -> None:
        self.server = server
        self.state = UNKNOWN
        # Why it is not read.
        self.reason = "not asked yet"
        self.position = 0
        # How long its last answer took.
        self.latency_ms: float | None = None
        # Reads that go on now, and all that there were.
        self.busy = 0
        self.reads = 0
        # How often it was left out.
        self.ejections = 0
        self._primary = primary
        self._max_lag_seconds = max_lag_seconds
        self._answered_at = -math.inf
        self._good = _GOOD_ANSWERS
        self._lock = threading.Lock()
        self._probe = Probe(Hosts(server.parameters), _DEADLINE_SECONDS)
        self._repeated = Repeated(f"probe-{server.name}", self._ask, _PROBE_SECONDS)

    def start(self) -> None:
        """Begin to ask it now and then."""
        self._repeated.start()

    def soon(self) -> None:
        """Ask it before its time: somebody waits for what it may have by now."""
        self._repeated.soon()

    @property
    def usable(self) -> bool:
        """Whether requests may read it."""
        return self.state == UP and time.monotonic() - self._answered_at < _SILENT_SECONDS

    @property
    def fresh_until(self) -> float:
        """The moment (monotonic seconds) up to which it has everything."""
        return self._primary.samples.fresh_until(self.position)

    @property
    def lag_seconds(self) -> float | None:
        """For how long it misses something, as far as is known; None where nothing is.

        Of one that misses what was written before this process began to ask, only the least.
        """
        last = self._primary.samples.last()
        if last is None:
            return None
        moment, position = last
        if self.position >= position:
            return 0.0
        # Without a primary nothing is written that could be missed.
        now = time.monotonic() if self._primary.answers else moment
        return now - max(self.fresh_until, self._primary.samples.began())

    def began(self) -> None:
        """A read of it begins."""
        with self._lock:
            self.busy += 1
            self.reads += 1

    def ended(self) -> None:
        """A read that began is over."""
        with self._lock:
            self.busy -= 1

    def failed(self, error: object) -> None:
        """Leave it out: a request found that it is away."""
        self._turn(AWAY, reason_of(error))
        # What else is pooled was made before the same end.
        self.server.dispose()
        self.soon()

    def stop(self) -> None:
        """Ask no more."""
        self._repeated.stop(_DEADLINE_SECONDS)
        self._probe.close()

    def _ask(self) -> None:
        began = time.perf_counter()
        try:
            replicates, position = self._probe.ask(_REPLICA)
        except psycopg2.Error as error:
            if self.state != AWAY:
                self.server.cut()
            self._turn(AWAY, reason_of(error))
            return
        if not replicates:
            self._turn(PROMOTED, "it is a primary itself")
            return
        # The primary's last position against what this one said before the primary was asked.
        last = self._primary.samples.last()
        ahead = last is not None and last[0] > self._answered_at and last[1] < self.position
        self.position = position_of(position) if position else 0
        self._answered_at = time.monotonic()
        self.latency_ms = round((time.perf_counter() - began) * 1000, 2)
        lag = self.lag_seconds
        if ahead:
            self._turn(AHEAD, "it has what the primary has not: is it of another history?")
        elif lag is not None and lag > self._max_lag_seconds:
            self._turn(LAGGING, f"it lags by more than {self._max_lag_seconds:g} seconds")
        elif self.fresh_until > -math.inf or self._primary.is_away:
            self._turn(UP, "")
        # Else it is to be seen.

    def _turn(self, state: str, reason: str) -> None:
        """Be in a state from now on; `UP` only after some good answers in a row."""
        with self._lock:
            self._good = self._good + 1 if state == UP else 0
            if state != self.state and (state != UP or self._good >= _GOOD_ANSWERS):
                self.ejections += self.state == UP
                self.state, self.reason = state, reason
        if state != UP:
            self.server.found.failed(reason)
        elif self.state == UP:
            self.server.found.answered()
