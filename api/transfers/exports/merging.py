"""What several shards give, each in order, as one in order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter

from api.core.database.sessions import AnyRow
from api.transfers.exports.kinds import Batch, Place

# A row ends with the id of its link; a link is on one shard.
_LINK = itemgetter(-1)


def merged(streams: Sequence[Iterator[Batch]]) -> Iterator[Batch]:
    """All of them in one order; some rows of each are held."""
    if len(streams) == 1:
        yield from streams[0]
        return
    parts = [part for part in map(_Part, streams) if part.go_on()]
    while parts:
        # Up to where it has come, all others have given everything.
        slowest = min(parts, key=lambda part: part.place[0])
        rows = [row for part in parts for row in part.take(slowest.place[0])]
        rows.sort(key=_LINK)  # of runs that are sorted
        yield rows, slowest.place
        if not slowest.go_on():
            parts.remove(slowest)


class _Part:
    """What one shard has given of which not all is taken."""

    def __init__(self, stream: Iterator[Batch]) -> None:
        self._stream = stream
        self._rows: list[AnyRow] = []
        # Up to where it has given everything.
        self.place: Place = ()

    def go_on(self) -> bool:
        """Have it give more; False where there is no more. Nothing is left of what it gave."""
        batch = next(self._stream, None)
        if batch is None:
            return False
        self._rows, self.place = batch
        return True

    def take(self, link: int) -> list[AnyRow]:
        """What it has given up to a link."""
        end = bisect_right(self._rows, link, key=_LINK)
        taken, self._rows = self._rows[:end], self._rows[end:]
        return taken
