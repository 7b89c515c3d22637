"""Visits that no link answered: counted in the process, and written to the spool by the moment.

A scanner may ask for thousands of addresses a second. Each costs an addition here; all of a moment
together cost a line for each kind, host and workspace. What is counted and not yet written is lost
when the process is killed: none of these visitors was sent on, so no click is.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from typing import NamedTuple

from api.clicks.records import OrphanRecord
from api.clicks.spool import Spool
from api.core.errors import Unavailable
from api.domains.hosts import normalise_host
from api.domains.service import DomainService

log = logging.getLogger(__name__)

# Of a moment; past it visits count at no host and for nobody.
_MOST_KEYS = 1_000
# Hosts of whom it must be asked whose they are; fewer, as scanners make them up.
_MOST_STRANGERS = 200
_NOBODY = 0
_NO_HOST = ""


class _Key(NamedTuple):
    kind: int
    host: str
    workspace_id: int


class _Stranger(NamedTuple):
    kind: int
    host: str


class OrphanVisits:
    """Counts between `start()` and `stop()`. Safe for threads and greenlets of one process."""

    def __init__(self, domains: DomainService, spool: Spool, seconds: float) -> None:
        self._domains = domains
        self._spool = spool
        self._seconds = seconds
        self._pid = 0
        self._refused = False
        self._counts: Counter[_Key] = Counter()
        self._strangers: Counter[_Stranger] = Counter()
        self._lock = threading.Lock()
        self._has_counts = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin in this process; a forked server calls it in each worker, after the fork."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._has_counts = threading.Event()
        self._stopping = threading.Event()
        self._writer = threading.Thread(target=self._write_by_age, name="orphans", daemon=True)
        self._writer.start()

    def stop(self) -> None:
        """Write what is counted, and end. The spool must still be open."""
        if self._pid != os.getpid():
            return
        self._stopping.set()
        self._has_counts.set()
        self._writer.join(timeout=5)
        self._pid = 0
        # Whose an unknown host is, is not asked any more: a process that stops waits for nobody.
        self._write()

    def add(self, kind: int, host_header: str, link_owner: int | None = None) -> None:
        """Count one visit; `link_owner` is the workspace of the link, where there is one.

        Asks no database: this is the path that scanners take.
        """
        host = normalise_host(host_header) or _NO_HOST
        owner = self._owner_of(host)
        with self._lock:
            if owner is None and link_owner is None and self._has_room(_Stranger(kind, host)):
                self._strangers[_Stranger(kind, host)] += 1
            else:
                known = bool(owner) or host == self._domains.default_domain
                holder = link_owner or owner or _NOBODY
                self._count(_Key(kind, host if known else _NO_HOST, holder), 1)
        self._has_counts.set()

    def _owner_of(self, host: str) -> int | None:
        """The workspace that holds a host; None where that must be asked."""
        if host in (self._domains.default_domain, _NO_HOST):
            return _NOBODY
        return self._domains.recall_owner(host)

    def _has_room(self, stranger: _Stranger) -> bool:
        return len(self._strangers) < _MOST_STRANGERS or stranger in self._strangers

    def _count(self, key: _Key, visits: int) -> None:
        """Add visits; the lock is held."""
        if len(self._counts) >= _MOST_KEYS and key not in self._counts:
            key = _Key(key.kind, _NO_HOST, _NOBODY)
        self._counts[key] += visits

    def _write_by_age(self) -> None:
        while not self._stopping.is_set():
            self._has_counts.wait()
            self._stopping.wait(self._seconds)
            try:
                self._look_up()
                self._write()
            except Exception:
                # A writer that ended here would let counts pile up unseen.
                log.exception("visits without a link could not be written")

    def _look_up(self) -> None:
        """Learn whose the unknown hosts are, with one query for all."""
        with self._lock:
            hosts = {stranger.host for stranger in self._strangers}
        if hosts and not self._stopping.is_set():
            try:
                self._domains.look_up(hosts)
            except Unavailable:
                log.debug("hosts could not be looked up, so their visits count at no host")

    def _write(self) -> None:
        with self._lock:
            self._has_counts.clear()
            for (kind, host), visits in self._strangers.items():
                owner = self._domains.recall_owner(host, stale=True)
                key = _Key(kind, host, owner) if owner else _Key(kind, _NO_HOST, _NOBODY)
                self._count(key, visits)
            self._strangers.clear()
            counts, self._counts = self._counts, Counter()
        now_ms = time.time_ns() // 1_000_000
        try:
            for key in list(counts):
                self._spool.record(OrphanRecord(now_ms, *key, counts[key]))
                del counts[key]
        except OSError as error:
            self._keep(counts, error)
        else:
            self._refused = False

    def _keep(self, counts: Counter[_Key], error: OSError) -> None:
        """Try again later: the counts stay bounded meanwhile."""
        with self._lock:
            for key, visits in counts.items():
                self._count(key, visits)
        self._has_counts.set()
        if not self._refused:
            log.error("visits without a link wait in the process, the disk refuses: %s", error)
        self._refused = True
