"""Lines in the log for a share of what is answered before it is parsed."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import TypeAlias

import orjson

from api.core.metrics.requests import PREPARED
from api.core.sampling import RedirectSample
from api.core.tracing.context import read_traceparent
from config.logging import REQUEST_LOGGER, write_request_line

_ROUTE = "/<slug:slug>"
_TRACEPARENT = re.compile(rb"(?i)\r\ntraceparent: *([!-~]+)\r\n")
_REQUEST_ID = re.compile(rb"\r\nX-Request-ID: ([!-~]+)\r\n")

# What is answered to bytes of a peer; see `FastPath.answer`.
Answer: TypeAlias = Callable[[bytes, str], tuple[bytes, bytes] | None]


class RedirectLines:
    """Tells of the share of redirects that `LOG_REDIRECT_SAMPLE` wants."""

    def __init__(self, share: float) -> None:
        self._share = share

    def around(self, answer: Answer) -> Answer:
        """`answer`, telling of some of what it answers; itself where nothing is to be told."""
        if not self._share or not logging.getLogger(REQUEST_LOGGER).isEnabledFor(logging.INFO):
            return answer
        takes, share = RedirectSample(self._share).takes, self._share

        def answer_and_tell(data: bytes, peer: str) -> tuple[bytes, bytes] | None:
            if not takes():
                return answer(data, peer)
            started = time.perf_counter()
            answered = answer(data, peer)
            if answered is not None:
                _tell(data, *answered, time.perf_counter() - started, share)
            return answered

        return answer_and_tell


def _tell(data: bytes, click: bytes, answer: bytes, seconds: float, share: float) -> None:
    # From the bytes themselves: to hand the facts on would cost those, too, that nobody tells of.
    named, given = _REQUEST_ID.search(answer), _TRACEPARENT.search(data)
    context = read_traceparent(given[1].decode()) if given else None
    write_request_line(
        logging.INFO,
        {
            "method": data[: data.index(b" ")].decode(),
            "route": _ROUTE,
            "status": int(answer[9:12]),
            "duration_ms": round(seconds * 1000, 4),
            "bytes": 0,
            "cache_level": PREPARED,
            "workspace": orjson.loads(click)[2],
            "request_id": named[1].decode() if named else None,
            "trace_id": f"{context.trace_id:032x}" if context else None,
            "sample": share,
        },
    )
