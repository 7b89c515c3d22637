"""The rules of imports: who may begin one, go on with it, look at it and end it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from api.core.database.routing import LATEST, Database
from api.core.database.sessions import AnyRow
from api.core.errors import Conflict, DomainError, NotFound, TooManyRequests, Unavailable
from api.core.idempotency import IdempotencyKeyReused
from api.core.ids import MAX_ID, new_id
from api.core.pagination import Cursors
from api.links.rows import NAMES
from api.transfers.imports import store
from api.transfers.imports.bodies import Body
from api.transfers.imports.packing import pack, unpack
from api.transfers.imports.parsing import Csv, Ndjson, lines_of
from api.transfers.imports.receiving import (
    Chunk,
    OtherBody,
    Receiver,
    TakenOver,
    first_digest,
    problem_of,
)
from config.settings import Settings

log = logging.getLogger(__name__)

_DIRECTORY_SLOT = 0
# Of a receiver that kept nothing for so long nobody knows whether it is still there.
_SILENT_SECONDS = 60.0
_RETRY_SECONDS = 30
_PURGED_AT_ONCE = 200
_OUTCOMES_AT_ONCE = 4

# Has a worker load an import; returns at once and raises nothing.
Offer = Callable[[int], None]


class ImportPosition(Conflict):
    """The body begins elsewhere than where the import goes on."""

    code = "import-position"
    title = "The import goes on at another row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an import is begun with."""

    key: str | None
    format: str
    conflict: str
    dry_run: bool
    from_row: int | None


@dataclass(frozen=True, slots=True)
class Source:
    """A body that waits to be read, as its client describes it."""

    read: Callable[[int], bytes]
    encoding: str
    length: int | None


class ImportService:
    """Imports as requests see them."""

    def __init__(
        self,
        db: Database,
        settings: Settings,
        secret: bytes,
        offer: Offer | None,
        short_url: Callable[[str, str], str],
    ) -> None:
        """Without an `offer` nobody would ever load what comes."""
        self._db = db
        self._short_url = short_url
        self._max_bytes = settings.import_max_bytes
        self._most = settings.imports_per_workspace
        self._abandon_seconds = settings.import_abandon_hours * 3_600
        self._cursors = Cursors(secret, "imports")
        self._offer = offer

    def begin(self, workspace: int, asked: Asked) -> tuple[AnyRow, int | None]:
        """The import that is asked for, and the number of who receives it now; None where its body
        has come whole before.

        Raises:
            IdempotencyKeyReused: the key was used for another kind of import.
            ImportPosition: `from_row` is not where it goes on.
            TooManyRequests: the workspace has as many imports at work as it may.
        """
        if self._offer is None:
            raise Unavailable("Imports need a queue of jobs, of which there is none here.", 60)
        receiver = secrets.randbelow(MAX_ID)
        with self._db.write_directory() as session:
            store.lock_imports(session, workspace)
            row = None
            if asked.key is not None:
                row = store.get_by_key(session, workspace, asked.key)
            if row is None:
                if asked.from_row:
                    raise ImportPosition("There is no such import.", rows=0)
                self._check_room(store.count_active(session, workspace, _SILENT_SECONDS))
                if asked.key is not None:
                    store.free_key(session, workspace, asked.key)
                values = {
                    "id": new_id(_DIRECTORY_SLOT),
                    "workspace_id": workspace,
                    "idempotency_key": asked.key,
                    "format": asked.format,
                    "conflict": asked.conflict,
                    "dry_run": asked.dry_run,
                    "digest": first_digest(None),
                    "seed": secrets.token_bytes(16),
                    "receiver": receiver,
                }
                return store.insert_import(session, values, self._abandon_seconds), receiver
            _check_same(row, asked)
            if row.state != "receiving":
                return row, None
            if asked.from_row is not None and asked.from_row != row.rows:
                raise ImportPosition(f"It goes on behind row {row.rows:,}.", rows=row.rows)
            taken = store.update_receiver(session, row.id, receiver)
            return (row, None) if taken is None else (taken, receiver)

    def receive(
        self, row: AnyRow, receiver: int, source: Source, *, from_row: int | None
    ) -> AnyRow:
        """Receive the body of an import that was begun; the import as it is then. What came of one
        that breaks off is kept.

        Raises:
            DomainError: why it cannot be received to its end.
        """
        try:
            behind = bool(from_row)
            body = Body(
                source.read,
                encoding=source.encoding,
                length=source.length,
                max_bytes=self._max_bytes,
                size_bytes=row.size_bytes if behind else 0,
            )
            rows = _rows_of(row.format, body, row.lines if behind else 0)
            if row.rows and rows.header != row.header:
                raise OtherBody("Its columns are others.")
            digest = row.digest if row.rows else first_digest(rows.header)
            keeping = _Keeping(self._db, row.id, receiver, body, rows, self._abandon_seconds)
            working = Receiver(rows, keeping, digest, dry_run=row.dry_run)
            working.receive(working.skip(0 if behind else row.rows))
            with self._db.write_directory() as session:
                queued = store.update_queued(session, row.id, receiver)
        except BaseException as error:
            self._release(row.id, receiver, error)
            raise
        if queued is None:
            raise TakenOver
        if self._offer is not None:
            self._offer(row.id)
        return queued

    def get_import(self, workspace: int, identifier: int) -> AnyRow:
        """One import.

        Raises:
            NotFound: the workspace has no such import.
        """
        with self._db.read_directory() as session:
            row = store.get_import(session, workspace, identifier)
        if row is None:
            raise NotFound("There is no such import.")
        return row

    def list_imports(
        self, workspace: int, *, limit: int, cursor: str | None, idempotency_key: str | None = None
    ) -> tuple[Sequence[AnyRow], str | None]:
        """A page of imports, newest first, and the cursor of the next; or the only one that was
        begun with a key."""
        if idempotency_key is not None:
            # Asked by who goes on: what was kept last counts.
            with self._db.read_directory(since=LATEST) as session:
                row = store.get_by_key(session, workspace, idempotency_key)
            return ([] if row is None else [row]), None
        question = ("imports", workspace)
        before = self._cursors.read(cursor, question)[0] if cursor else None
        with self._db.read_directory() as session:
            rows = store.find_imports(session, workspace, before, limit + 1)
        page = rows[:limit]
        more = len(rows) > limit
        return page, self._cursors.write(question, [page[-1].id]) if more else None

    def end_import(self, workspace: int, identifier: int) -> None:
        """Cancel an import that is at work; what was loaded stays. Forget one that has ended.

        Raises:
            NotFound: the workspace has no such import.
        """
        with self._db.write_directory() as session:
            done = store.update_cancelled(
                session, workspace, identifier, self._abandon_seconds
            ) or store.update_forgotten(session, workspace, identifier)
        if not done:
            raise NotFound("There is no such import.")

    def stream_outcomes(self, identifier: int, only: str | None) -> Iterator[dict[str, Any]]:
        """What became of each row, as far as it is known; of those with the outcome `only`."""
        first = 0
        while True:
            with self._db.read_directory() as session:
                chunks = store.find_outcomes(session, identifier, first, _OUTCOMES_AT_ONCE)
            for chunk in chunks:
                for number, outcome in enumerate(unpack(chunk.outcomes), chunk.first_row + 1):
                    if only in (None, outcome["outcome"]):
                        yield {"row": number, **outcome, "short_url": self._address_of(outcome)}
            if len(chunks) < _OUTCOMES_AT_ONCE:
                return
            first = chunks[-1].number + 1

    def _address_of(self, outcome: dict[str, Any]) -> str | None:
        if outcome["id"] is None:
            return None
        return self._short_url(outcome["domain"], outcome["slug"])

    def _check_room(self, active: int) -> None:
        if active >= self._most:
            raise TooManyRequests(
                f"{active} imports are at work: wait for one to end.", _RETRY_SECONDS
            )

    def _release(self, identifier: int, receiver: int, error: BaseException) -> None:
        """Say why nobody receives any more; as far as the directory can be told."""
        told = problem_of(error) if isinstance(error, DomainError) else None
        try:
            with self._db.write_directory() as session:
                store.update_unreceived(session, identifier, receiver, told)
        except DomainError as away:
            log.warning("import %s: its receiver could not be released: %s", identifier, away)


class _Keeping:
    """Keeps the chunks of one import."""

    def __init__(
        self,
        db: Database,
        identifier: int,
        receiver: int,
        body: Body,
        rows: Ndjson | Csv,
        abandon_seconds: float,
    ) -> None:
        self._db = db
        self._import = identifier
        self._receiver = receiver
        self._body = body
        self._rows = rows
        self._abandon_seconds = abandon_seconds

    def keep(self, chunk: Chunk) -> None:
        """Keep a chunk, if the body still is this one's to receive."""
        with self._db.write_directory(noted=False) as session:
            kept = store.insert_chunk(
                session,
                **{"import": self._import},
                receiver=self._receiver,
                count=len(chunk.rows),
                lines=chunk.rows[-1][0],
                size_bytes=self._body.size_bytes,
                digest=chunk.digest,
                header=self._rows.header,
                keep=self._abandon_seconds,
                staged=pack(chunk.rows),
            )
        if not kept:
            raise TakenOver


def _rows_of(form: str, body: Body, line: int) -> Ndjson | Csv:
    return Csv(lines_of(body), NAMES, line) if form == "csv" else Ndjson(lines_of(body), line)


def purge_imports(db: Database) -> int:
    """Delete a bounded part of what nobody sees any more; how much."""
    with db.write_directory(noted=False) as session:
        return store.delete_expired(session, _PURGED_AT_ONCE)


def _check_same(row: AnyRow, asked: Asked) -> None:
    same = (row.format, row.conflict, row.dry_run) == (asked.format, asked.conflict, asked.dry_run)
    if not same:
        raise IdempotencyKeyReused
