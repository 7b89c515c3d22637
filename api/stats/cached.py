"""Answers about clicks that are kept for a while, the longer the less they can change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from api.core.cache import EVERYTHING, AnswerCache, CachedAnswer
from api.stats.periods import Period, period_of

# Of the answers' form and meaning: another number finds nothing that was kept before.
_VERSION = 1
# A click is counted within seconds; after a fault around us it may be minutes, rarely days.
_OPEN_FOR = timedelta(hours=1)
_YOUNG_FOR = timedelta(days=2)
_YOUNG_SECONDS = 60
_OLD_SECONDS = 3_600


class StatsCache:
    """Keeps finished answers by everything that was asked."""

    def __init__(
        self,
        answers: AnswerCache,
        open_seconds: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`open_seconds`: how long a period is kept that may still go on; 0 keeps nothing."""
        self._answers = answers
        self._open_seconds = open_seconds
        self._now = now

    def answer(
        self,
        workspace: int,
        subject: str,
        query: dict[str, Any],
        compute: Callable[[dict[str, Any]], bytes],
    ) -> CachedAnswer:
        """The answer to `query` about `subject`, such as `link:1`; the caller has looked whether
        the workspace may ask it.

        `compute` is given the query with `now` in it: all questions of a quarter of an hour that
        name no end are one.

        Raises:
            Invalid: the period cannot be answered.
        """
        now = self._now()
        start, end, zone = query.get("start"), query.get("end"), query["timezone"]
        # Months, as buckets are of no interest here: it is about what the times come to.
        period = period_of(start, end, "month", zone, now)
        asked = query if end is not None else {**query, "start": period.start, "end": period.end}
        return self._answers.answer(
            _group(workspace),
            key_of(workspace, subject, query, period),
            self._life_seconds(period, now),
            lambda: compute(asked),
        )

    def evict_workspace(self, workspace: int) -> bool:
        """Forget all answers about a workspace, after its counts were changed otherwise than by
        new clicks; whether all processes do so at once (see `AnswerCache.evict`)."""
        return self._answers.evict(_group(workspace))

    def evict_all(self) -> bool:
        """The same for all workspaces."""
        return self._answers.evict(EVERYTHING)

    def _life_seconds(self, period: Period, now: datetime) -> int:
        age = now - period.end
        if self._open_seconds <= 0 or age < _OPEN_FOR:
            return self._open_seconds
        return _YOUNG_SECONDS if age < _YOUNG_FOR else _OLD_SECONDS


def key_of(workspace: int, subject: str, query: Mapping[str, Any], period: Period) -> str:
    """One key for each different question: of all that was asked, with the times they come to."""
    times = {"start": period.start, "end": period.end}
    question = [_VERSION, workspace, subject, {**query, **times}]
    text = orjson.dumps(question, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    return hashlib.blake2b(text, digest_size=20).hexdigest()


def _group(workspace: int) -> str:
    return f"workspace:{workspace}"
