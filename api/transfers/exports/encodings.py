"""How an answer's bytes are packed on their way, as its client accepts."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import zstandard

# Rows of links and clicks become a fifth; a higher level takes three times as long for a tenth
# less.
_GZIP_LEVEL = 3
_ZSTD_LEVEL = 3
_GZIP_WINDOW = 31  # the largest, with gzip's own header


class Packer(Protocol):
    """Packs bytes as they come."""

    def pack(self, data: bytes) -> bytes:
        """Add bytes; what of all is packed by now."""

    def push(self) -> bytes:
        """What is not given yet of all that was added."""

    def end(self) -> bytes:
        """The same, and the end."""


class Plain:
    """Nothing is packed."""

    def pack(self, data: bytes) -> bytes:
        return data

    def push(self) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""


class Gzip:
    """RFC 1952."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def pack(self, data: bytes) -> bytes:
        return self._packer.compress(data)

    def push(self) -> bytes:
        return self._packer.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._packer.flush()


class Zstandard:
    """RFC 8878, as RFC 9659 has it on the Web: the window is below 8 MB."""

    def __init__(self) -> None:
        self._packer = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()

    def pack(self, data: bytes) -> bytes:
        return self._packer.compress(data)

    def push(self) -> bytes:
        return self._packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def end(self) -> bytes:
        return self._packer.flush()


PACKERS: dict[str, Callable[[], Packer]] = {
    "identity": Plain,
    "gzip": Gzip,
    "zstd": Zstandard,
}


def choose_encoding(quality: Callable[[str], float]) -> str:
    """The best of what a client accepts, each with its `quality`; where it likes several as much,
    the smallest."""
    best = max(("zstd", "gzip"), key=quality)
    return best if quality(best) and quality(best) >= quality("identity") else "identity"
