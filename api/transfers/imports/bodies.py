"""The body of an import as it comes: unpacked piece by piece, with a bound on each measure."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

from api.core.errors import BadRequest, DomainError, UnsupportedMediaType

PIECE_BYTES = 1 << 16
_GZIP_WINDOW = 31  # the largest, with gzip's own header
# What RFC 8878 has every decoder support; more is memory that a client would choose for us.
_ZSTD_WINDOW = 1 << 23
# Rows of links become a tenth to a fiftieth. Small bodies may be anything.
_RATIO = 200
_ANY_RATIO_BYTES = 1 << 22


class ContentTooLarge(DomainError):
    """A body, or a part of it, is larger than what is taken."""

    status = 413
    code = "content-too-large"
    title = "Content too large"


class BodyBroken(BadRequest):
    """The connection ended in the middle of the body, or the body in the middle of itself."""

    code = "body-incomplete"
    title = "The body is not complete"


class _Unpacker(Protocol):
    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What packed bytes stand for, in pieces of bounded size."""

    def end(self) -> None:
        """Raises where something is missing."""


class _Plain:
    def pieces(self, data: bytes) -> Iterator[bytes]:
        yield data

    def end(self) -> None:
        """All that came is all that there is."""


class _Gzip:
    """Members of gzip, one behind another (RFC 1952)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._begun = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP_WINDOW)
            self._begun = True
            try:
                piece = self._member.decompress(data, PIECE_BYTES)
            except zlib.error:
                raise BadRequest("The body is not gzip.") from None
            data = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                yield piece

    def end(self) -> None:
        if self._begun and not self._member.eof:
            raise BodyBroken("The gzip stream ends too early.")


class _Zstd:
    """Frames of Zstandard, one behind another (RFC 8878)."""

    def __init__(self) -> None:
        self._make = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj
        self._frame = self._make()
        self._begun = False

    def pieces(self, data: bytes) -> Iterator[bytes]:
        # A few bytes can stand for a lot: of a frame little is unpacked at a time.
        view = memoryview(data)
        while view:
            if self._frame.eof:
                self._frame = self._make()
            self._begun = True
            some, view = view[:_ZSTD_STEP], view[_ZSTD_STEP:]
            try:
                piece = self._frame.decompress(some)
            except zstandard.ZstdError:
                raise BadRequest("The body is not zstd, or needs more than 8 MiB.") from None
            if self._frame.unused_data:
                view = memoryview(bytes(self._frame.unused_data) + bytes(view))
            if piece:
                yield piece

    def end(self) -> None:
        if self._begun and not self._frame.eof:
            raise BodyBroken("The zstd stream ends too early.")


# A block of zstd is at most 128 KiB unpacked, and may be four bytes packed.
_ZSTD_STEP = 64
_UNPACKERS: dict[str, Callable[[], _Unpacker]] = {
    "": _Plain,
    "identity": _Plain,
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "zstd": _Zstd,
}


class Body:
    """An iterator over the unpacked pieces of a body; `size_bytes` are those given so far."""

    def __init__(
        self,
        read: Callable[[int], bytes],
        *,
        encoding: str,
        length: int | None,
        max_bytes: int,
        size_bytes: int = 0,
    ) -> None:
        """`length` is what the client says the body has, packed; `size_bytes` is counted already.

        Raises:
            UnsupportedMediaType: nobody can unpack it here.
        """
        unpack = _UNPACKERS.get(encoding.strip().lower())
        if unpack is None:
            raise UnsupportedMediaType(
                "Send it as it is, or with gzip or zstd.", headers={"Accept-Encoding": "gzip, zstd"}
            )
        self._read = read
        self._unpacker = unpack()
        self._length = length
        self._max_bytes = max_bytes
        self._packed_bytes = 0
        self._own_bytes = 0
        self.size_bytes = size_bytes

    def __iter__(self) -> Iterator[bytes]:
        while data := self._read(PIECE_BYTES):
            self._packed_bytes += len(data)
            for piece in self._unpacker.pieces(data):
                self._count(len(piece))
                yield piece
        if self._length is not None and self._packed_bytes < self._length:
            raise BodyBroken("The connection ended in the middle of the body.")
        self._unpacker.end()

    def _count(self, size_bytes: int) -> None:
        self._own_bytes += size_bytes
        self.size_bytes += size_bytes
        if self.size_bytes > self._max_bytes:
            raise ContentTooLarge(f"An import has at most {self._max_bytes:,} bytes, unpacked.")
        if self._own_bytes > max(_ANY_RATIO_BYTES, _RATIO * self._packed_bytes):
            raise ContentTooLarge(f"The body is packed more than {_RATIO} times.")
