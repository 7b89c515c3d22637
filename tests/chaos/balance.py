"""Compares what visitors were answered with every way in which the database counts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from api.stats.models import GRAIN_DAY, GRAIN_QUARTER, SUBJECT_LINK
from tests.chaos.visitors import ANSWERED, CUT_OFF, REFUSED, Request

# Clicks of each link, by each way that they are counted.
_COUNTS = (
    "SELECT subject_id, sum(clicks) FROM click_counts"
    f" WHERE subject = {SUBJECT_LINK} AND grain = {{}} GROUP BY 1"
)
WAYS = {
    "raw rows": "SELECT link_id, count(*) FROM clicks GROUP BY 1",
    "counts by quarter of an hour": _COUNTS.format(GRAIN_QUARTER),
    "counts by day": _COUNTS.format(GRAIN_DAY),
    "link totals": "SELECT link_id, sum(clicks) FROM link_totals GROUP BY 1",
}
_RAW = "SELECT utm_content, link_id FROM clicks"
_EXAMPLES = 10


@dataclass
class Balance:
    """What was asked, what is counted, and every way in which they differ."""

    requests: Counter[str]
    totals: dict[str, int]  # clicks in all, by each way that they are counted
    cut_off_counted: int
    missing: list[int] = field(default_factory=list)  # answered, and not among the raw rows
    repeated: list[int] = field(default_factory=list)  # more than once among the raw rows
    unasked: list[str] = field(default_factory=list)  # raw rows of no answered or cut off request
    misplaced: list[int] = field(default_factory=list)  # counted for another link
    differences: dict[str, dict[str, int]] = field(default_factory=dict)  # by link
    segments_left: int = 0  # in the spool and the queue
    segments_rejected: int = 0  # laid aside, or dead letters

    @property
    def holds(self) -> bool:
        """Whether every answered click is counted exactly once, in every way."""
        wrong = [self.missing, self.repeated, self.unasked, self.misplaced, self.differences]
        return not any(wrong) and not self.segments_left and not self.segments_rejected

    def as_json(self) -> dict[str, Any]:
        """The balance for machines; of long lists only the beginning."""
        return {
            "holds": self.holds,
            "requests": {kind: self.requests[kind] for kind in (ANSWERED, CUT_OFF, REFUSED)},
            "clicks": self.totals,
            "cut_off_counted": self.cut_off_counted,
            "missing": len(self.missing),
            "repeated": len(self.repeated),
            "unasked": len(self.unasked),
            "misplaced": len(self.misplaced),
            "links_that_differ": len(self.differences),
            "segments_left": self.segments_left,
            "segments_rejected": self.segments_rejected,
            "examples": {
                "missing": self.missing[:_EXAMPLES],
                "repeated": self.repeated[:_EXAMPLES],
                "unasked": self.unasked[:_EXAMPLES],
                "misplaced": self.misplaced[:_EXAMPLES],
                "differences": dict(list(self.differences.items())[:_EXAMPLES]),
            },
        }

    def lines(self) -> list[str]:
        """The balance for people."""
        rows: list[tuple[str, int]] = [
            ("requests answered with a redirect", self.requests[ANSWERED]),
            ("requests cut off", self.requests[CUT_OFF]),
            ("  of these counted, which is right", self.cut_off_counted),
            ("requests refused", self.requests[REFUSED]),
            *((f"clicks by {way}", clicks) for way, clicks in self.totals.items()),
            ("answered, not counted", len(self.missing)),
            ("counted more than once", len(self.repeated)),
            ("counted, never asked", len(self.unasked)),
            ("counted for another link", len(self.misplaced)),
            ("links whose counts differ", len(self.differences)),
            ("segments left to count", self.segments_left),
            ("segments rejected", self.segments_rejected),
        ]
        lines = [f"{name:<42}{number:>12,}" for name, number in rows]
        examples = {name: some for name, some in self.as_json()["examples"].items() if some}
        lines += [f"{name}, for example: {some}" for name, some in examples.items()]
        return lines


def strike_balance(
    connection: Connection, requests: Iterable[Request], links: list[int]
) -> Balance:
    """Compare the requests with the database; `links` are the ids of the visitors' links."""
    asked = {request.number: request for request in requests}
    counted: Counter[int] = Counter()
    unasked, misplaced = [], []
    streamed = connection.execution_options(yield_per=5_000).execute(text(_RAW))
    for number_text, link_id in streamed:
        number = int(number_text) if number_text.isdecimal() else -1
        request = asked.get(number)
        if request is None or request.outcome == REFUSED:
            unasked.append(f"{number_text!r} of link {link_id}")
            continue
        counted[number] += 1
        if links[request.link] != link_id:
            misplaced.append(number)
    ways = {way: _by_link(connection, query) for way, query in WAYS.items()}
    return Balance(
        requests=Counter(request.outcome for request in asked.values()),
        totals={way: sum(clicks.values()) for way, clicks in ways.items()},
        cut_off_counted=sum(asked[number].outcome == CUT_OFF for number in counted),
        missing=[
            number
            for number, request in asked.items()
            if request.outcome == ANSWERED and number not in counted
        ],
        repeated=[number for number, times in counted.items() if times > 1],
        unasked=unasked,
        misplaced=misplaced,
        differences=_differences(ways),
    )


def _by_link(connection: Connection, query: str) -> dict[int, int]:
    return {link: int(clicks) for link, clicks in connection.execute(text(query))}


def _differences(ways: Mapping[str, Mapping[int, int]]) -> dict[str, dict[str, int]]:
    """The links for which not all ways agree."""
    links = {link for clicks in ways.values() for link in clicks}
    found = {}
    for link in sorted(links):
        numbers = {way: clicks.get(link, 0) for way, clicks in ways.items()}
        if len(set(numbers.values())) > 1:
            found[str(link)] = numbers
    return found
