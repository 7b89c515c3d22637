"""Files as people have them: plain or compressed, or standard input."""

from __future__ import annotations

import gzip
import io
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from api.transfers.sources.errors import Unreadable

STDIN = "-"
BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZIP = b"PK\x03\x04"
_CHUNK = 1 << 16


class InputFile:
    """A file that can be read again from its beginning, however often a connection breaks."""

    def __init__(self, name: str) -> None:
        """Open it; `close` it in the end.

        Raises:
            OSError: it cannot be read.
        """
        self.name = "standard input" if name == STDIN else name
        self._raw = _stdin_on_disk() if name == STDIN else Path(name).open("rb")  # noqa: SIM115
        self.size_bytes = self._raw.seek(0, io.SEEK_END)

    def close(self) -> None:
        self._raw.close()

    @property
    def position_bytes(self) -> int:
        """How far it is read, of `size_bytes`."""
        return 0 if self._raw.closed else self._raw.tell()

    @contextmanager
    def opened(self) -> Iterator[io.BufferedReader]:
        """What it holds, from its beginning.

        Raises:
            Unreadable: it is damaged, cut, or an archive of files.
        """
        self._raw.seek(0)
        head = self._raw.read(4)
        self._raw.seek(0)
        if head == _ZIP:
            raise Unreadable(f"{self.name} is an archive of files: unpack it first")
        try:
            if head[:2] == _GZIP:
                yield io.BufferedReader(gzip.GzipFile(fileobj=self._raw), _CHUNK)
            else:
                raw = _Zstd(self._raw) if head == _ZSTD else _Plain(self._raw)
                yield io.BufferedReader(raw, _CHUNK)
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            raise Unreadable(f"{self.name} is damaged or cut: {error}") from None
        except UnicodeDecodeError as error:
            raise Unreadable(
                f"{self.name} is not UTF-8: byte 0x{error.object[error.start]:02x}"
            ) from None
        except Unreadable as error:
            raise Unreadable(f"{self.name}: {error.detail}") from None


class _Plain(io.RawIOBase):
    """The file itself, but that whoever is done with this does not close it."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Zstd(_Plain):
    """Decompresses frames; unlike the library's reader it notices that the last one is cut."""

    def __init__(self, raw: BinaryIO) -> None:
        super().__init__(raw)
        self._frame: Any = None
        self._held = b""
        self._left = b""

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            data = self._held or self._raw.read(_CHUNK)
            if not data:
                if self._frame is not None:
                    raise EOFError("its end is missing")
                return 0
            frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._left = frame.decompress(data)
            self._held = frame.unused_data if frame.eof else b""
            self._frame = None if frame.eof else frame
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _stdin_on_disk() -> BinaryIO:
    """Standard input can be read once: what is to be read again goes to the disk."""
    kept = tempfile.TemporaryFile()  # noqa: SIM115
    shutil.copyfileobj(sys.stdin.buffer, kept)
    return kept
