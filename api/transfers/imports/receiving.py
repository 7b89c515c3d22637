"""Receiving an import: each row is read, judged by the schema and kept, a chunk at a time.

What is kept survives a broken connection; who goes on with the body is held to what was kept, by a
running digest of its rows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Protocol

from api.core.errors import Conflict, DomainError, Invalid
from api.core.passwords import hash_password
from api.links.rows import read_row
from api.transfers.imports.parsing import Csv, Ndjson, RawRow

CHUNK_ROWS = 1_000
# Of what rows hold, roughly: they may be a thousand times as long as usual.
_CHUNK_BYTES = 1 << 20
# Requests that share the process wait no longer than this for their turn.
_TURN_SECONDS = 0.005
_LOOK_EVERY = 50
_DIGEST_BYTES = 16
_MOST_ERRORS = 20


class OtherBody(DomainError):
    """The body begins otherwise than the one of which there are rows already."""

    status = 422
    code = "import-differs"
    title = "The body is not the one that was begun"


class Chunk:
    """Rows that follow each other, and where the body stands behind them."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, Any] | None, dict[str, Any] | None]] = []
        self.size_bytes = 0
        self.digest = b""

    def is_full(self) -> bool:
        """Whether it is to be kept now."""
        return len(self.rows) >= CHUNK_ROWS or self.size_bytes >= _CHUNK_BYTES


class Keeper(Protocol):
    """Who keeps chunks."""

    def keep(self, chunk: Chunk) -> None:
        """Keep a chunk."""


class Receiver:
    """Reads a body to its end, or as far as it comes."""

    def __init__(self, rows: Ndjson | Csv, keeper: Keeper, digest: bytes, *, dry_run: bool) -> None:
        """`digest` is that of the rows which were kept before."""
        self._rows = rows
        self._keeper = keeper
        self._digest = digest
        self._dry_run = dry_run
        self._chunk = Chunk()
        self._turn = time.perf_counter()

    def skip(self, rows: int) -> Iterator[RawRow]:
        """Go past rows that were kept already; what comes behind them.

        Raises:
            OtherBody: they are not the same.
        """
        raw = iter(self._rows)
        if rows:
            digest = first_digest(self._rows.header)
            for number in range(rows):
                row = next(raw, None)
                if row is None:
                    raise OtherBody(f"{rows:,} rows of it are here, and this one has fewer.")
                digest = next_digest(digest, row.content)
                if number % _LOOK_EVERY == 0:
                    self._let_others()
            if digest != self._digest:
                raise OtherBody(f"Its first {rows:,} rows are not those that are here.")
        return raw

    def receive(self, raw: Iterator[RawRow]) -> None:
        """Keep all that comes. Also where it ends too early: what came is kept."""
        try:
            for number, row in enumerate(raw):
                self._take(row)
                if number % _LOOK_EVERY == 0:
                    self._let_others()
        finally:
            self._keep()

    def _take(self, row: RawRow) -> None:
        values, problem = None, None
        try:
            document = self._rows.document(row)
            if document is None:
                return
            values = read_row(document)
            if values.get("password") and not self._dry_run:
                # Nowhere is it kept as it is.
                values["password_hash"] = hash_password(values.pop("password"))
        except DomainError as error:
            values, problem = None, problem_of(error)
        self._digest = next_digest(self._digest, row.content)
        chunk = self._chunk
        chunk.rows.append((row.line, values, problem))
        chunk.size_bytes += len(row.content)
        if chunk.is_full():
            self._keep()

    def _keep(self) -> None:
        chunk, self._chunk = self._chunk, Chunk()
        if chunk.rows:
            chunk.digest = self._digest
            self._keeper.keep(chunk)
            self._turn = time.perf_counter()

    def _let_others(self) -> None:
        if time.perf_counter() - self._turn > _TURN_SECONDS:
            time.sleep(0)
            self._turn = time.perf_counter()


def first_digest(header: list[str] | None) -> bytes:
    """The digest of no rows below a header."""
    return blake2b(",".join(header or ()).encode(), digest_size=_DIGEST_BYTES).digest()


def next_digest(digest: bytes, content: bytes) -> bytes:
    """The digest of one more row."""
    return blake2b(content, digest_size=_DIGEST_BYTES, key=digest).digest()


def problem_of(error: DomainError) -> dict[str, Any]:
    """What is kept of why a row failed."""
    if isinstance(error, Invalid) and len(error.extra["errors"]) > _MOST_ERRORS:
        error = Invalid(error.extra["errors"][:_MOST_ERRORS], error.detail)
    return error.facts()


class TakenOver(Conflict):
    """Another connection goes on with the import, or it was cancelled."""

    code = "import-taken-over"
    title = "Another connection goes on with this import, or it was cancelled"
