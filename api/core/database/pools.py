"""How a pool of connections is used, counted where it happens."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exc
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from api.core.dependencies import Dependency
from config.logging import quieten

# SQLAlchemy's pool logs by its class's place, which is here: each fork and each end of a script.
quieten(__name__, logging.WARNING)


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool at this moment."""

    # Connections that are kept, and how many more there may be.
    size: int
    max_overflow: int
    checked_out: int
    idle: int
    # Of those that are open, how many are more than are kept.
    overflow: int
    waiting: int
    # How often somebody waited in vain, since the process began.
    exhausted: int


class MeasuredPool(QueuePool):
    """SQLAlchemy's pool, which also knows how many wait for it."""

    # Where it leads; set by who makes the pool, as SQLAlchemy hands on no options that it does not
    # know.
    database: Dependency

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting = 0
        self._exhausted = 0
        self._counting = threading.Lock()

    def connect(self) -> PoolProxiedConnection:
        """A connection; whoever comes while all are in use is counted as waiting."""
        if self.checkedout() < self.size() + self._max_overflow:
            return super().connect()
        self._count(waiting=1)
        try:
            return super().connect()
        except exc.TimeoutError:
            self._count(exhausted=1)
            raise
        finally:
            self._count(waiting=-1)

    def recreate(self) -> QueuePool:
        """An empty pool, which goes on counting."""
        made = super().recreate()
        if isinstance(made, MeasuredPool):
            made._exhausted = self._exhausted  # what it has counted before
            made.database = self.database
        return made

    def state(self) -> PoolState:
        """How it is used now."""
        return PoolState(
            size=self.size(),
            max_overflow=self._max_overflow,
            checked_out=self.checkedout(),
            idle=self.checkedin(),
            overflow=max(self.overflow(), 0),
            waiting=self._waiting,
            exhausted=self._exhausted,
        )

    def _count(self, *, waiting: int = 0, exhausted: int = 0) -> None:
        with self._counting:
            self._waiting += waiting
            self._exhausted += exhausted
