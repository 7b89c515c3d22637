"""How many requests there were, how long they took, and where redirects found their links."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from flask import Request
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from api.core.metrics import bounds
from api.core.metrics.families import Histogram, counter, histogram

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_UNMATCHED, _OTHER = "unmatched", "other"
_AGE_BOUNDS = (0.1, 1, 5, 15, 30, 60, 300, 3600, 86_400)
# The answer was ready before anybody asked.
PREPARED = "prepared"
FOLLOW = "redirects.follow"
_VISITS = frozenset((FOLLOW, "redirects.follow_with_password"))


class RedirectMeter(Collector):
    """Of redirects: their number by level and status, their duration, the age of what answered."""

    def __init__(self) -> None:
        # What Prometheus has not seen at nought does not grow when it appears: a short outage
        # would be in no increase().
        self._numbers = Counter({(_OTHER, status): 0 for status in ("500", "503")})
        self._durations = Histogram(bounds.REDIRECTS)
        self._ages = Histogram(_AGE_BOUNDS)
        # By the three digits of the status, as they stand in the answers.
        self._prepared: dict[bytes, int] = {}

    def note(
        self, level: str, status: int, seconds: float | None, age_seconds: float | None
    ) -> None:
        """Count one that went through Flask; `seconds` is None where its duration tells nothing."""
        self._numbers[level, str(status)] += 1
        if seconds is not None:
            self._durations.observe(seconds)
        if age_seconds is not None:
            self._ages.observe(age_seconds)

    def note_turn(self, answers: list[tuple[Any, bytes]], seconds: float) -> None:
        """Count prepared answers that left together, so long after the first was asked for."""
        prepared = self._prepared
        for _, answer in answers:
            status = answer[9:12]
            prepared[status] = prepared.get(status, 0) + 1
        self._durations.observe(seconds, len(answers))

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        numbers = dict(self._numbers)
        for status, number in list(self._prepared.items()):
            numbers[PREPARED, status.decode()] = number
        yield counter(
            "signpost_redirects",
            "Visits to short links, by where the link was found.",
            numbers,
            ("level", "status"),
        )
        yield histogram(
            "signpost_redirect_duration_seconds",
            "From the request to its answer, at the server.",
            {(): self._durations},
        )
        yield histogram(
            "signpost_target_age_seconds",
            "Age of the copy of the link that answered, of those that were not prepared.",
            {(): self._ages},
        )


class RequestMeter(Collector):
    """Of all other requests: number by route and status, duration by route."""

    def __init__(self, redirects: RedirectMeter) -> None:
        self.redirects = redirects
        self._numbers: Counter[tuple[str, str, str]] = Counter()
        self._durations: dict[tuple[str, str], Histogram] = {}

    def note(self, asked: Request, about: Any, status: int) -> None:
        """Count a request whose answer is about to leave; `about` are its facts (`flask.g`)."""
        seconds = time.perf_counter() - about.started
        if asked.endpoint in _VISITS:
            level = about.get("cache_level") or _OTHER
            # A password is hashed slowly on purpose: it would break what is promised of redirects.
            timed = seconds if asked.endpoint == FOLLOW else None
            self.redirects.note(level, status, timed, about.get("target_age"))
            return
        rule, method = asked.url_rule, asked.method
        route = rule.rule if rule is not None else _UNMATCHED
        method = method if method in _METHODS else _OTHER
        self._numbers[method, route, str(status)] += 1
        durations = self._durations.get((method, route))
        if durations is None:
            durations = self._durations[method, route] = Histogram(bounds.REQUESTS)
        durations.observe(seconds)

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As it is now."""
        yield counter(
            "signpost_requests",
            "Requests, but for visits to short links.",
            dict(self._numbers),
            ("method", "route", "status"),
        )
        yield histogram(
            "signpost_request_duration_seconds",
            "From the request to its answer; of a stream, to its beginning.",
            dict(self._durations),
            ("method", "route"),
        )
