"""The imports of a running Signpost, from outside: docs/imports.md has the contract."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
import urllib3
from urllib3.exceptions import HTTPError

from api.core.errors import DomainError
from api.transfers.sources.asking import USER_AGENT, reason_of, retry_after

_TIMEOUT = urllib3.Timeout(connect=10.0, read=120.0)
_AGAIN = frozenset((409, 429, 502, 503, 504))
_MAX_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 16
_CHUNK_SECONDS = 1.0


class Refused(DomainError):
    """Signpost does not take what was sent, and will not another time."""

    code = "import-refused"
    title = "The import is refused"


class Broken(Exception):
    """The connection broke, or Signpost is busy: it may go well another time."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class Signpost:
    """Where rows are sent to."""

    def __init__(self, url: str, key: str) -> None:
        self._base = f"{url.rstrip('/')}/api/v1/imports"
        self._headers = {"User-Agent": USER_AGENT, "Authorization": f"Bearer {key}"}
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)

    def find(self, key: str) -> dict[str, Any] | None:
        """The import that was begun with this idempotency key."""
        query = urlencode({"idempotency_key": key})
        found = self._ask("GET", f"{self._base}?{query}")["data"]
        return found[0] if found else None

    def get(self, identifier: str) -> dict[str, Any]:
        """An import as it is now."""
        return self._ask("GET", f"{self._base}/{identifier}")

    def send(
        self, lines: Iterator[bytes], key: str, content_type: str, query: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Stream rows; answers the import.

        Raises:
            Broken: not all of them arrived.
            Refused: with what the server says of the reason.
        """
        headers = {"Content-Type": content_type, "Idempotency-Key": key}
        return self._ask("POST", f"{self._base}?{urlencode(query)}", headers, chunks(lines))

    def outcomes(self, identifier: str, outcome: str) -> Iterator[dict[str, Any]]:
        """What became of rows, one after another.

        Raises:
            Broken: the stream ends too early.
        """
        url = f"{self._base}/{identifier}/outcomes?outcome={outcome}"
        answer = self._request("GET", url)
        try:
            if answer.status != 200:
                _judge(answer.status, answer.headers, answer.read(_MAX_BYTES))
            rest = b""
            for data in answer.stream(_CHUNK_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                yield from map(orjson.loads, filter(None, lines))
            if rest:
                yield orjson.loads(rest)
        except HTTPError as error:
            raise Broken(reason_of(error)) from error
        finally:
            answer.close()

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Iterator[bytes] | None = None,
    ) -> dict[str, Any]:
        answer = self._request(method, url, headers, body)
        try:
            content = answer.read(_MAX_BYTES, decode_content=True)
        except HTTPError as error:
            raise Broken(reason_of(error)) from error
        finally:
            answer.release_conn()
        if answer.status not in (200, 202):
            _judge(answer.status, answer.headers, content)
        try:
            parsed = orjson.loads(content)
        except orjson.JSONDecodeError:
            parsed = None
        if not isinstance(parsed, dict):
            raise Refused(f"{self._base} answers without JSON: is it a Signpost?")
        return parsed

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Iterator[bytes] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._http.request(
                method,
                url,
                body=body,
                headers=self._headers | dict(headers or {}),
                redirect=False,
                preload_content=False,
            )
        except HTTPError as error:
            raise Broken(reason_of(error)) from error


def chunks(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Lines in pieces that are worth a packet; none waits for long where lines come slowly."""
    waiting: list[bytes] = []
    size, sent = 0, time.monotonic()
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _CHUNK_BYTES or time.monotonic() - sent > _CHUNK_SECONDS:
            yield b"".join(waiting)
            waiting.clear()
            size, sent = 0, time.monotonic()
    if waiting:
        yield b"".join(waiting)


def _judge(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise what an answer means that is no success."""
    reason = _told(status, body)
    if status in _AGAIN or status >= 500:
        raise Broken(reason, retry_after(headers.get("Retry-After")))
    raise Refused(reason)


def _told(status: int, body: bytes) -> str:
    """What a problem says (RFC 9457), in one line."""
    try:
        problem = orjson.loads(body)
        text = problem.get("detail") or problem["title"]
    except (ValueError, KeyError, AttributeError):
        text = "and says nothing more"
    return f"Signpost answers {status}: {text}"
