"""What was read of a file: an import that goes on skips rows, and they must be the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from api.transfers.sources.errors import Unreadable

_DIGEST_BYTES = 16
_NOTES = 64

Note = tuple[int, str]


class Trail:
    """Digests of the first rows, noted now and then."""

    def __init__(self) -> None:
        # How many rows, and the digest of them; the server may have fewer than were read.
        self.notes: list[Note] = []
        self._rows = 0
        self._digest = blake2b(digest_size=_DIGEST_BYTES)

    def after(self, head: bytes, rows: Iterator[bytes], start: int) -> Iterator[bytes]:
        """The rows after the first `start`.

        Raises:
            Unreadable: those before are not the ones that were noted.
        """
        # Rows that the server does not have may be others now: a file can be repaired.
        self.notes = [note for note in self.notes if note[0] <= start]
        noted, wanted = self.notes[-1] if self.notes else (0, "")
        self._rows, self._digest = 0, blake2b(head, digest_size=_DIGEST_BYTES)
        for row in rows:
            self._rows += 1
            self._digest.update(row)
            if self._rows == noted and self._digest.hexdigest() != wanted:
                break
            if self._rows > start:
                yield row
        else:
            if self._rows >= noted:
                return
        raise Unreadable(
            f"it is not the file of the earlier run: its first {noted:,} rows differ; begin --anew"
        )

    def note(self) -> None:
        """Note what is read by now."""
        self.notes.append((self._rows, self._digest.hexdigest()))
        if len(self.notes) > _NOTES:
            # Every second one of the older: the farther back, the wider apart.
            self.notes = self.notes[: _NOTES // 2 : 2] + self.notes[_NOTES // 2 :]


def notes_from_json(saved: list[list[object]]) -> list[Note]:
    """Notes of a file of state."""
    return [(int(str(rows)), str(digest)) for rows, digest in saved]
