"""What this process needs of others (databases, Redis, the broker), and how each of them is.

Whoever uses a dependency says how that went: here it is known once for the whole process, as
`states()`, and the log is told once when it changes, however many failures there are between.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import NamedTuple

log = logging.getLogger(__name__)

# An answer so soon after a failure changes nothing: where one of ten questions fails, something is
# wrong, and the log would be told of each of them.
_SETTLE_SECONDS = 1.0
# A dependency that nobody has asked for so long since it failed may be up or not.
_KNOWN_SECONDS = 60.0


class State(NamedTuple):
    """How a dependency is, as its users have found it."""

    name: str
    up: bool
    since: float  # when `up` last changed, or was first known (Unix seconds)
    reason: str  # why it is down; empty while it is up


class Dependency:
    """One server, or one node of a cluster; safe for threads and greenlets."""

    __slots__ = (
        "_consequences",
        "_failed_at",
        "_fell_at",
        "_lock",
        "_reason",
        "_since",
        "_up",
        "name",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self._up: bool | None = None  # None: nobody has asked it yet
        self._since = 0.0
        self._reason = ""
        self._consequences: dict[str, None] = {}
        # Monotonic: when it went down, and when it last failed.
        self._fell_at = self._failed_at = 0.0
        self._lock = threading.Lock()

    def without(self, consequence: str) -> None:
        """Have the log told how things are while it is down."""
        self._consequences[consequence] = None

    def answered(self) -> None:
        """It has done what it was asked for."""
        if not self._up:  # the way that is taken each time ends here, without a lock
            self._rise()

    def failed(self, error: object) -> None:
        """It has not; `error` says why, and only its first line is kept."""
        reason = reason_of(error)
        with self._lock:
            self._failed_at = time.monotonic()
            self._reason = reason
            if self._up is False:
                return
            self._fell_at, self._up, self._since = self._failed_at, False, time.time()
        told = "".join(f"; {each}" for each in self._consequences)
        about = {"dependency": self.name, "up": False}
        log.warning("%s is down: %s%s", self.name, reason, told, extra=about)

    def state(self) -> State | None:
        """How it is; None where nobody knows."""
        with self._lock:
            if self._up is None:
                return None
            if not self._up and time.monotonic() - self._failed_at > _KNOWN_SECONDS:
                return None
            return State(self.name, self._up, self._since, "" if self._up else self._reason)

    def _rise(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._up or (self._up is False and now - self._failed_at < _SETTLE_SECONDS):
                return
            was_down, self._up, self._since = self._up is False, True, time.time()
            seconds = round(now - self._fell_at, 1)
        if was_down:
            about = {"dependency": self.name, "up": True, "seconds": seconds}
            # As loud as the line before: who has read that one waits for this.
            log.warning("%s is up again, after %s s", self.name, seconds, extra=about)


class Dependencies:
    """Those of one process, by name."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Dependency] = {}
        self._lock = threading.Lock()

    def of(self, name: str, address: str = "") -> Dependency:
        """The dependency of this name, made when it is first wanted.

        `address` keeps apart what has one name and is at several places; it is shown to nobody.
        """
        with self._lock:
            return self._known.setdefault((name, address), Dependency(name))

    def states(self) -> list[State]:
        """Each that is known to be up or down, by name."""
        with self._lock:
            known = list(self._known.values())
        return sorted(state for one in known if (state := one.state()) is not None)


# A process has one, as it has one log.
dependencies = Dependencies()


def reason_of(error: object) -> str:
    """One line of an error: its text, else its kind."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
