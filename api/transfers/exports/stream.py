"""The body of an export: rows as they are read, written and packed, no faster than its client
takes them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Protocol

import gevent

from api.core.errors import Unavailable
from api.transfers.exports.encodings import Packer
from api.transfers.exports.formats import End, Format
from api.transfers.exports.kinds import Kind, Place
from api.transfers.exports.reading import Reader

log = logging.getLogger(__name__)

# How soon a client that went away is noticed, and a credential that was revoked.
_LOOK_SECONDS = 0.5
_ALLOWED_SECONDS = 60.0


class Peer(Protocol):
    """The client at the other end."""

    def gone(self) -> bool:
        """Whether it has closed its connection."""

    def unsent_bytes(self) -> int | None:
        """How much is on its way; it changes for as long as the client takes anything."""

    def abort(self) -> None:
        """End the connection, even while something is being sent."""

    def reset_at_close(self) -> None:
        """Have it see, when the connection is closed, that the answer is not whole."""


class Incomplete(BrokenPipeError):
    """Ends an answer without its end, so that every client sees it; to a server it is what a client
    causes that went away."""


class ExportStream:
    """An iterator over the pieces of the body; the server calls `close` when it is over."""

    def __init__(
        self,
        kind: Kind,
        reader: Reader,
        writer: Format,
        packer: Packer,
        *,
        cursor_of: Callable[[Place], str],
        peer: Peer,
        allowed: Callable[[], bool],
        on_close: Callable[[ExportStream], None],
    ) -> None:
        """`allowed` is asked now and then whether the client may go on."""
        self.name = kind.name
        self.rows = 0
        self.size_bytes = 0
        self.outcome = "left"
        self._values = kind.values
        self._reader = reader
        self._batches = reader.batches()
        self._first: Sequence[Any] | None = None
        self._writer = writer
        self._packer = packer
        self._cursor_of = cursor_of
        self._peer = peer
        self._allowed = allowed
        self._on_close = on_close
        self._pieces = self._make()
        self._ended = False
        self._sending_since: float | None = None
        self._unsent: int | None = None
        self._moved_at = 0.0
        self._looked_at = self._asked_at = time.monotonic()

    def begin(self) -> None:
        """Read the first rows: what fails now can still be told by the status of the answer.

        Raises:
            Unavailable: a database is away.
        """
        self._first = next(self._batches, None)

    def end(self) -> None:
        """Stop soon; what is sent until then says where to go on."""
        self._ended = True

    def cut(self) -> None:
        """End it now: the client does not take what is being sent."""
        log.info("an export is cut off after %d rows: its client takes nothing", self.rows)
        self._ended = True
        self._peer.abort()

    def stuck_seconds(self) -> float:
        """For how long the client has taken nothing; to be asked now and then."""
        if self._sending_since is None:
            return 0.0
        now, unsent = time.monotonic(), self._peer.unsent_bytes()
        if unsent != self._unsent:
            # A kernel has room for seconds, and wakes us when a third of it is free.
            self._unsent, self._moved_at = unsent, now
        return now - max(self._sending_since, self._moved_at)

    def __iter__(self) -> ExportStream:
        return self

    def __next__(self) -> bytes:
        self._sending_since = None
        try:
            piece = next(self._pieces)
        except BaseException:
            self.close()
            raise
        # Others have waited for as long as it took to make this.
        gevent.sleep(0)
        self.size_bytes += len(piece)
        self._sending_since = time.monotonic()
        return piece

    def close(self) -> None:
        """Give back the connections to databases, and the place."""
        self._sending_since = None
        self._pieces.close()
        self._batches.close()
        self._on_close(self)

    def _make(self) -> Generator[bytes]:
        pack = self._packer.pack
        yield pack(self._writer.begin())
        failure = None
        try:
            for rows in self._rows():
                self.rows += len(rows)
                yield pack(self._writer.write(list(map(self._values, rows))))
                failure = self._halted()
                if failure is not None:
                    break
        except Unavailable as error:
            failure = str(error)
        except Incomplete:
            raise
        except Exception:
            log.exception("an export failed")
            failure = "an unexpected error"
        if failure is None:
            self.outcome = "complete"
            yield pack(self._writer.end(End(True, self.rows, None))) + self._packer.end()
            return
        yield from self._stop(failure)

    def _rows(self) -> Iterator[Sequence[Any]]:
        if self._first is not None:
            yield self._first
            self._first = None
            yield from self._batches

    def _halted(self) -> str | None:
        """Why it must not go on, if it must not."""
        if self._ended:
            return "this process stops"
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return None
        self._looked_at = now
        if self._peer.gone():
            raise Incomplete
        if now - self._asked_at < _ALLOWED_SECONDS:
            return None
        self._asked_at = now
        return None if self._allowed() else "the credential does not stand any more"

    def _stop(self, reason: str) -> Iterator[bytes]:
        """Say where to go on, and leave the answer without its end."""
        self.outcome = "cut"
        log.warning("an export is cut off after %d rows: %s", self.rows, reason)
        end = End(False, self.rows, self._cursor_of(self._reader.place))
        yield self._packer.pack(self._writer.end(end)) + self._packer.push()
        self._peer.reset_at_close()
        raise Incomplete
