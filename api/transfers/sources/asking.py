"""A polite client of somebody else's API: a few calls a second, again when it is busy, and within
bounds of time and size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import orjson
import urllib3
from urllib3.exceptions import HTTPError

from api.transfers.sources.errors import NotAnswered

USER_AGENT = "Signpost import"
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_LEAST_SECONDS = 0.5
_PATIENCE_SECONDS = 600.0
_MAX_BYTES = 64 << 20
_BUSY = frozenset((429, 500, 502, 503, 504))
_TRIES = 7
_LONGEST_WAIT_SECONDS = 300.0


class Asker:
    """Asks one service; not for threads."""

    def __init__(
        self,
        headers: Mapping[str, str],
        per_second: float,
        sleep: Callable[[float], None] = time.sleep,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **headers}
        self._pause = 1 / per_second
        self._sleep = sleep
        self._patience = patience_seconds
        self._next = 0.0
        self._http = urllib3.PoolManager(retries=False)

    def get(self, url: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that is answered.

        Raises:
            NotAnswered: the service refuses, or does not answer after several tries, or for longer
                than patience has.
        """
        return self._ask("GET", f"{url}?{urlencode(query)}", None)

    def post(self, url: str, form: Mapping[str, Any]) -> dict[str, Any]:
        """The same, for what must not be in an address, as that is logged."""
        return self._ask("POST", url, urlencode(form))

    def _ask(self, method: str, url: str, form: str | None) -> dict[str, Any]:
        self._wait_turn()
        end = time.monotonic() + self._patience
        tries = 0
        while True:
            tries += 1
            asked_for = None
            try:
                status, headers, body = self._once(method, url, form, end - time.monotonic())
            except HTTPError as error:
                reason = reason_of(error)
            else:
                if status not in _BUSY:
                    return _read(url, status, body)
                reason = f"it answers {status}"
                asked_for = retry_after(headers.get("Retry-After"))
            wait = min(
                2.0 ** (tries - 1) if asked_for is None else asked_for, _LONGEST_WAIT_SECONDS
            )
            again = max(time.monotonic() + wait, self._next)
            if tries == _TRIES or again >= end:
                times = "once" if tries == 1 else f"{tries} times"
                raise NotAnswered(f"{_place(url)} was asked {times}: {reason}")
            self._sleep(wait)
            self._wait_turn()

    def _once(
        self, method: str, url: str, form: str | None, seconds: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = dict(self._headers)
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        answer = self._http.request(
            method,
            url,
            body=form,
            headers=headers,
            redirect=False,
            preload_content=False,
            timeout=_timeout(seconds),
        )
        try:
            body = answer.read(_MAX_BYTES + 1, decode_content=True)
        finally:
            answer.release_conn()
        if len(body) > _MAX_BYTES:
            raise NotAnswered(f"{_place(url)} answers with more than {_MAX_BYTES >> 20} MiB")
        return answer.status, answer.headers, body

    def _wait_turn(self) -> None:
        now = time.monotonic()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + self._pause


def _timeout(seconds: float) -> urllib3.Timeout:
    """As long as a service may take, and no longer than the time that is left."""
    left = max(seconds, _LEAST_SECONDS)
    return urllib3.Timeout(connect=min(_CONNECT_SECONDS, left), read=min(_READ_SECONDS, left))


def retry_after(value: str | None) -> float | None:
    """Seconds that a service asks us to wait (RFC 9110 section 10.2.3); None if it says nothing."""
    if not value:
        return None
    try:
        return max(0.0, urllib3.Retry().parse_retry_after(value))
    except urllib3.exceptions.InvalidHeader:
        return None


def _read(url: str, status: int, body: bytes) -> dict[str, Any]:
    place = _place(url)
    if status in (401, 403):
        raise NotAnswered(f"{place} refuses the key ({status})")
    if 300 <= status < 400:
        raise NotAnswered(f"{place} leads elsewhere ({status}): give the address that it leads to")
    if status != 200:
        raise NotAnswered(f"{place} answers {status}: is it the address of the service?")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        content = None
    if not isinstance(content, dict):
        raise NotAnswered(f"{place} answers without JSON: is it the address of the service?")
    return content


def _place(url: str) -> str:
    return url.partition("?")[0]


def reason_of(error: HTTPError) -> str:
    """Why a call failed, in one line: what is within, where the library only wraps it."""
    inner = error.args[-1] if error.args and isinstance(error.args[-1], Exception) else error
    return (str(inner).splitlines() or [type(inner).__name__])[0][:200]
