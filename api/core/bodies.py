"""Bodies of answers that are sent piece by piece, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any


class CountedBody:
    """An iterable of pieces; when it is over, or given up, `on_end` is told its bytes once."""

    def __init__(self, pieces: Iterable[Any], on_end: Callable[[int], None]) -> None:
        self._pieces = pieces
        self._iterator: Iterator[Any] | None = None
        self._on_end: Callable[[int], None] | None = on_end
        self._size_bytes = 0

    def __iter__(self) -> Iterator[Any]:
        self._iterator = iter(self._pieces)
        return self

    def __next__(self) -> Any:
        assert self._iterator is not None  # noqa: S101 - __iter__() made it
        piece = next(self._iterator)
        self._size_bytes += len(piece.encode() if isinstance(piece, str) else piece)
        return piece

    def close(self) -> None:
        """Let go of what makes the pieces, as WSGI servers do at the end (PEP 3333)."""
        close = getattr(self._pieces, "close", None)
        try:
            if close is not None:
                close()
        finally:
            on_end, self._on_end = self._on_end, None
            if on_end is not None:
                on_end(self._size_bytes)
