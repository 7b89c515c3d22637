"""The fast path where requests are traced: what is to be in a trace goes the other way.

What is answered before it is parsed asks nobody anything, so a trace of it would be a single span,
and the time to record that many times what the answer takes. The share of such requests that the
sampler wants, and those whose caller samples them, are given to the application instead, where
their clicks are traced as well.
"""

from __future__ import annotations

import re
from functools import lru_cache
from random import random
from typing import Any

from api.core.tracing.context import read_traceparent
from api.core.tracing.tracer import TRACER
from api.core.tracing.wsgi import chosen
from api.redirects.fast import _REMEMBERED, FastPath, _Visitor

_TRACEPARENT = re.compile(rb"\r\ntraceparent: *([!-~]+)\r\n", re.IGNORECASE)


class TracedFastPath(FastPath):
    """Answers what no trace is to tell of."""

    def __init__(self, *parts: Any, **more: Any) -> None:
        super().__init__(*parts, **more)
        self._share = TRACER.sampler.ratio
        self._traced = self._visitor
        self._plain = lru_cache(_REMEMBERED)(super()._read_fields)

    def answer(self, data: bytes, peer: str) -> tuple[bytes, bytes] | None:
        """As the fast path answers; None also where the answer is to be traced."""
        # Decided first: an answer that is not sent would be counted all the same.
        if random() < self._share:  # nosec B311 # noqa: S311
            chosen.set(True)
            return None
        answered = super().answer(data, peer)
        if answered is None and TRACER.callers.is_exhausted():
            self._visitor = self._plain
            answered = super().answer(data, peer)
            self._visitor = self._traced
        if answered is None:
            chosen.set(False)
        return answered

    def _read_fields(self, block: bytes, peer: str) -> _Visitor | None:
        given = _TRACEPARENT.search(b"\r\n" + block)
        context = read_traceparent(given[1].decode()) if given else None
        if context is not None and TRACER.sampler.takes(context, context.trace_id):
            return None
        return super()._read_fields(block, peer)
