"""Loading an import, in a worker: chunk by chunk, each once, however often it is tried."""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from api.core.database.routing import LATEST, Database
from api.core.errors import DomainError, Unavailable
from api.core.ids import MAX_ID
from api.links.arrivals import CREATED, EXISTS, FAILED, OVERWRITTEN, Arrival, Fate, LinkArrivals
from api.links.placing import Origin
from api.targets.known import KnownRules
from api.transfers.imports import work_store as store
from api.transfers.imports.packing import pack, unpack
from api.transfers.imports.receiving import problem_of

log = logging.getLogger(__name__)

# A worker that is killed is not heard of again; another goes on after this.
LEASE_SECONDS = 15.0
# Then others have their turn, and a worker that is told to stop can.
_SLICE_SECONDS = 10.0
# An import that was offered, and that nobody took for so long, is offered again.
_LOST_SECONDS = 20.0
_OFFERED_AT_ONCE = 100
# So often a chunk is begun before it is given up: by then it is not the worker that is at fault.
_MAX_TRIES = 10
_TIMES = ("starts_at", "expires_at", "created_at", "last_clicked_at")

# Queues a job for an import; returns at once and raises nothing.
Offer = Callable[[int], None]


class ImportFailed(DomainError):
    """Something went wrong that has nothing to do with any row."""

    status = 500
    code = "import-failed"
    title = "The import failed"


class ImportLoader:
    """Loads imports."""

    def __init__(
        self,
        db: Database,
        links: LinkArrivals,
        blocked: KnownRules,
        offer: Offer,
        keep_seconds: float,
    ) -> None:
        self._db = db
        self._links = links
        self._blocked = blocked
        self._offer = offer
        self._keep_seconds = keep_seconds

    def load(self, identifier: int) -> str:
        """Load an import, or a part of it, and have the rest offered; in a word, what came of it.

        Raises:
            Unavailable: a database is away; the import is offered again later.
        """
        worker = secrets.randbelow(MAX_ID)
        with self._db.write_directory(noted=False) as session:
            claim = store.update_claim(session, identifier, worker, LEASE_SECONDS)
        if claim is None:
            return "nothing to do"
        try:
            if claim.tries > _MAX_TRIES:
                raise ImportFailed("A part of it was begun in vain too often.")
            # The rules as they are now: nothing tells this process of a change.
            self._blocked.look()
            return self._load_slice(claim, worker)
        except Unavailable:
            self._wait(claim, worker)
            raise
        except Exception as error:
            log.exception("import %d cannot be loaded", identifier)
            failure = error if isinstance(error, ImportFailed) else ImportFailed()
            self._end(claim, worker, "failed", failure)
            return "failed"

    def offer_due(self) -> int:
        """Offer what nobody was told of lately, and nobody works at; how many.

        Raises:
            Unavailable: the directory is away.
        """
        with self._db.write_directory(noted=False) as session:
            due = store.update_offers(session, _LOST_SECONDS, _OFFERED_AT_ONCE)
        for identifier in due:
            self._offer(identifier)
        return len(due)

    def _load_slice(self, claim: store.Claim, worker: int) -> str:
        until = time.monotonic() + _SLICE_SECONDS
        again = claim.again
        for number in range(claim.loaded, claim.chunks):
            if not self._load_chunk(claim, worker, number, again=again):
                return "taken over"
            again = False
            if time.monotonic() > until and number + 1 < claim.chunks:
                with self._db.write_directory(noted=False) as session:
                    store.update_released(session, claim.id, worker, begun=False)
                self._offer(claim.id)
                return "a part"
        self._end(claim, worker, "finished", None)
        return "all"

    def _load_chunk(self, claim: store.Claim, worker: int, number: int, *, again: bool) -> bool:
        """Load a chunk and keep what became of its rows; False where somebody else does now."""
        # A replica may not have what came a moment ago.
        with self._db.read_directory(since=LATEST) as session:
            chunk = store.get_chunk(session, claim.id, number)
        staged = unpack(chunk.staged)
        arrivals = [
            Arrival(row, _fields_of(values))
            for row, (_, values, _) in enumerate(staged, chunk.first_row + 1)
            if values is not None
        ]
        fates = self._links.load(
            Origin(claim.workspace_id, claim.seed, claim.created_at),
            arrivals,
            claim.conflict,
            again=again,
            dry_run=claim.dry_run,
        )
        outcomes = [
            _outcome(line, values, problem, fates.get(row))
            for row, (line, values, problem) in enumerate(staged, chunk.first_row + 1)
        ]
        numbers = Counter(outcome["outcome"] for outcome in outcomes)
        with self._db.write_directory(noted=False) as session:
            return store.update_loaded(
                session,
                **{"import": claim.id},
                worker=worker,
                number=number,
                rows=len(outcomes),
                lease=LEASE_SECONDS,
                outcomes=pack(outcomes),
                **{name: numbers[name] for name in (CREATED, EXISTS, OVERWRITTEN, FAILED)},
            )

    def _wait(self, claim: store.Claim, worker: int) -> None:
        """Let others try later, as often as it takes; as far as the directory can be told."""
        try:
            with self._db.write_directory(noted=False) as session:
                store.update_released(session, claim.id, worker, begun=True)
        except Unavailable as error:
            log.debug("import %d is left to the end of its lease: %s", claim.id, error)

    def _end(
        self, claim: store.Claim, worker: int, state: str, problem: DomainError | None
    ) -> None:
        told = None if problem is None else problem_of(problem)
        with self._db.write_directory() as session:
            ended = store.update_ended(session, claim.id, worker, state, told, self._keep_seconds)
        if ended is not None:
            log.info("import %d %s: %s", claim.id, state, ended._asdict())


def _fields_of(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row as they were read."""
    for name in _TIMES:
        if values.get(name) is not None:
            values[name] = datetime.fromisoformat(values[name])
    return values


def _outcome(
    line: int,
    values: dict[str, Any] | None,
    problem: dict[str, Any] | None,
    fate: Fate | None,
) -> dict[str, Any]:
    """What is kept of a row."""
    if fate is None:
        named = {"id": None, "slug": None, "domain": None}
        return {"line": line, "outcome": FAILED, **named, "problem": problem}
    given = values or {}
    return {
        "line": line,
        "outcome": fate.outcome,
        "id": None if fate.id is None else str(fate.id),
        "slug": fate.slug or given.get("slug"),
        "domain": fate.domain or given.get("domain"),
        "problem": problem_of(fate.error) if fate.error else None,
    }
