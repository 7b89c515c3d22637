"""Fetches an export into a file, from outside: docs/exports.md has the contract."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO
from urllib.parse import urlencode

import orjson
import urllib3
import zstandard
from urllib3.exceptions import HTTPError

import api
from api.core.errors import DomainError
from api.transfers.exports.records import Records, cells_of, is_end, is_row, row_of, whole_records

# By what a row says where to go on.
KEYS = {"links": ("id",), "clicks": ("link_id", "clicked_at", "id")}
_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_AGAIN = frozenset((429, 502, 503, 504))
_CHUNK_BYTES = 1 << 18
_PROBLEM_BYTES = 1 << 16
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 30.0


class Refused(DomainError):
    """Signpost does not give the export, and will not another time."""

    code = "export-refused"
    title = "The export is refused"


class Broken(Exception):
    """The connection broke, or Signpost is busy: it may go well another time."""

    def __init__(self, reason: object, wait_seconds: float = 0.0) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.wait_seconds = wait_seconds


class Fetcher:
    """Writes rows to a file, of which all records are whole whenever it stops."""

    def __init__(
        self,
        url: str,
        key: str,
        kind: str,
        query: Mapping[str, str],
        *,
        patience_seconds: float,
        on_rows: Callable[[int, Mapping[str, Any]], None],
        on_trouble: Callable[[str], None],
    ) -> None:
        """`on_rows` is told how many rows there are, and the last; `on_trouble`, why it waits. It
        gives up when nothing came for `patience_seconds`."""
        self.rows = 0
        self.bytes = 0
        self.connections = 0
        self._address = f"{url.rstrip('/')}/api/v1/exports/{kind}"
        self._keys = KEYS[kind]
        self._format = query["format"]
        self._query = dict(query) | ({"trailer": "true"} if query["format"] == "csv" else {})
        self._headers = {
            "Authorization": f"Bearer {key}",
            "User-Agent": f"signpost-export/{api.__version__}",
            "Accept-Encoding": "zstd, gzip",
        }
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)
        self._patience_seconds = patience_seconds
        self._on_rows = on_rows
        self._on_trouble = on_trouble
        self._header: list[str] = []
        self._last: dict[str, Any] = {}

    def continue_with(self, file: BinaryIO) -> None:
        """Go on after the rows of a file, and cut off what is not whole of it."""
        if self._format != "parquet":  # whose parts are no use
            for records in whole_records(file, self._format):
                self.bytes += sum(map(len, records))
                self._note(records)
        file.truncate(self.bytes)
        file.seek(self.bytes)

    def fetch(self, file: BinaryIO) -> None:
        """All rows that are not there yet.

        Raises:
            Refused: with what the server says of the reason.
            Broken: nothing came for too long.
        """
        since, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
        while True:
            before = self.rows
            try:
                self._fetch_once(file)
                return
            except Broken as error:
                now = time.monotonic()
                if self.rows > before:
                    since, pause = now, _FIRST_PAUSE_SECONDS
                if now - since > self._patience_seconds:
                    raise
                self._on_trouble(str(error))
                time.sleep(max(pause, error.wait_seconds))
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _fetch_once(self, file: BinaryIO) -> None:
        answer = self._open()
        try:
            if answer.status != 200:
                _judge(answer)
            if self._format == "parquet":
                self._take_whole(answer, file)
            else:
                self._take_rows(answer, file)
        except (HTTPError, zlib.error, zstandard.ZstdError) as error:
            raise Broken(error) from error
        finally:
            answer.close()

    def _open(self) -> urllib3.BaseHTTPResponse:
        self.connections += 1
        query = self._query
        if self._last:
            query = query | {"after": ",".join(self._last[key] for key in self._keys)}
        try:
            return self._http.request(
                "GET",
                f"{self._address}?{urlencode(query)}",
                headers=self._headers,
                redirect=False,
                preload_content=False,
            )
        except HTTPError as error:
            raise Broken(error) from error

    def _take_whole(self, answer: urllib3.BaseHTTPResponse, file: BinaryIO) -> None:
        file.seek(0)
        file.truncate()
        self.bytes = 0
        for data in answer.stream(_CHUNK_BYTES):
            self.bytes += file.write(data)
            self._on_rows(0, {})

    def _take_rows(self, answer: urllib3.BaseHTTPResponse, file: BinaryIO) -> None:
        records = Records(self._format)
        try:
            unpack = _unpacker(answer.headers.get("Content-Encoding"))
            for data in answer.stream(_CHUNK_BYTES, decode_content=False):
                self._keep(file, records.feed(unpack(data)))
        finally:
            last = records.held
            if last and is_row(last[0], self._format):
                self._keep(file, last)
        if not last or not is_end(last[0], self._format):
            raise Broken("the export was cut off")

    def _keep(self, file: BinaryIO, records: list[bytes]) -> None:
        self.bytes += file.write(b"".join(records))
        self._note(records)

    def _note(self, records: list[bytes]) -> None:
        """Count rows, and remember the last."""
        if records and self._format == "csv" and not self._header:
            self._header = cells_of(records[0])
            records = records[1:]
        if records:
            self.rows += len(records)
            self._last = row_of(records[-1], self._format, self._header)
            self._on_rows(self.rows, self._last)


def _unpacker(encoding: str | None) -> Callable[[bytes], bytes]:
    """What unpacks a body piece by piece: urllib3 takes another package for zstd."""
    if encoding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress
    if encoding == "gzip":
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
    return bytes


def _judge(answer: urllib3.BaseHTTPResponse) -> None:
    """Say what an answer that is no export means.

    Raises:
        Broken: a later try may go well.
        Refused: none will.
    """
    content = answer.read(_PROBLEM_BYTES, decode_content=True)
    try:
        told = orjson.loads(content)
        reason = told.get("detail") or told["title"]
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        reason = f"{answer.status} {answer.reason or ''}".strip()
    if answer.status in _AGAIN:
        wait = answer.headers.get("Retry-After", "")
        raise Broken(reason, float(wait) if wait.isdigit() else 0.0)
    raise Refused(reason)
