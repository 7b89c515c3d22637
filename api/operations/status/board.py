"""Which pictures there are, and the numbers that stand beside each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.operations.status import words
from api.operations.status.counters import CALL_TIME, CLICK_DELAY, REDIRECT_TIME, Times
from api.operations.status.hour import Hour, Values, now, worst
from api.operations.status.pictures import Limit, Picture, Series

# What is promised (docs/operations.md): beyond it the page speaks of it, and draws a line.
REDIRECT_SECONDS = 0.02
CLICK_SECONDS = 10.0
# From the fastest to the slowest, then those that led nowhere.
LEVELS = {
    "prepared": "before the parser",
    "process": "process",
    "redis": "Redis",
    "replica": "replica",
    "database": "database",
    "stale": "stale copy",
    "missing": "no such link",
    "other": "other",
}
Tell = Callable[[float], str]
_CALLS = {"2xx": "good", "3xx": "not modified", "4xx": "refused", "5xx": "failed"}


@dataclass(frozen=True, slots=True)
class Number:
    """What is told beside a picture."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture with its numbers, and which of its series happened at all."""

    picture: Picture
    numbers: Sequence[Number]
    legend: Sequence[Series]


def make_panels(hour: Hour) -> list[Panel]:
    """All of them, in the order in which a redirect meets what they show."""
    return [
        _redirects(hour),
        _duration(hour, "redirect-time", "Time of a redirect", REDIRECT_TIME, REDIRECT_SECONDS),
        _calls(hour),
        _duration(hour, "call-time", "Time of an API call", CALL_TIME, None),
        _clicks(hour),
        _duration(hour, "click-delay", "From click to count", CLICK_DELAY, CLICK_SECONDS),
        _waiting(hour),
        _workers(hour),
        _loop(hour),
    ]


def _redirects(hour: Hour) -> Panel:
    series = [
        Series(name=name, look=level, values=hour.rate(f"redirects.{level}"))
        for level, name in LEVELS.items()
    ]
    return _stacked("redirects", "Redirects a second", series, hour.rate("redirects."))


def _calls(hour: Hour) -> Panel:
    series = [
        Series(name=name, look=f"calls-{kind}", values=hour.rate(f"calls.{kind}"))
        for kind, name in _CALLS.items()
    ]
    return _stacked("calls", "API calls a second", series, hour.rate("calls."))


def _stacked(slug: str, title: str, series: list[Series], sum_: Values) -> Panel:
    met = [each for each in series if worst(each.values)]
    picture = Picture(
        slug=slug,
        title=title,
        text=_text(sum_, words.count, "each minute, together"),
        series=met or series[:1],
        tell=words.count,
        stacked=True,
        least=1.0,
    )
    return Panel(picture, _now_and_worst(sum_, words.count), met)


def _duration(hour: Hour, slug: str, title: str, times: Times, bound: float | None) -> Panel:
    median, slow = hour.quantile(0.5, times), hour.quantile(0.99, times)
    limit = bound and Limit(value=bound, name=f"99 % within {words.seconds(bound)}")
    series = [
        Series(name="half of them", look="half", values=median),
        Series(name="99 %", look="slow", values=slow),
    ]
    picture = Picture(
        slug=slug,
        title=title,
        text=_text(slow, words.seconds, "99 % took no longer"),
        series=series,
        tell=words.seconds,
        logarithmic=True,
        least=times.bounds[0],
        limit=limit or None,
    )
    numbers = [
        Number("half", _told(now(median), words.seconds)),
        Number("99 %", _told(now(slow), words.seconds)),
        Number("most", _told(worst(slow), words.seconds)),
    ]
    return Panel(picture, numbers, series)


def _clicks(hour: Hour) -> Panel:
    recorded, counted = hour.rate("clicks_recorded"), hour.rate("clicks_counted")
    series = [
        Series(name="recorded", look="recorded", values=recorded),
        Series(name="counted", look="counted", values=counted),
    ]
    picture = Picture(
        slug="clicks",
        title="Clicks a second",
        text=_text(recorded, words.count, "recorded")
        + " "
        + _text(counted, words.count, "counted"),
        series=series,
        tell=words.count,
        least=1.0,
    )
    return Panel(picture, _now_and_worst(counted, words.count), series)


def _waiting(hour: Hour) -> Panel:
    size, age = hour.most("spool_bytes"), hour.most("oldest_click_seconds")
    series = [Series(name="bytes", look="waiting", values=size)]
    picture = Picture(
        slug="spool",
        title="Clicks that wait in the spool",
        text=_text(size, words.size, "of the fullest host"),
        series=series,
        tell=words.size,
        stacked=True,
        least=1_000.0,
    )
    oldest = Number("oldest", _told(now(age), words.seconds))
    return Panel(picture, [oldest, *_now_and_worst(size, words.size)], series)


def _workers(hour: Hour) -> Panel:
    mean, most = hour.mean("busy"), hour.most("busy")
    pool = hour.most("pool_share")
    series = [
        Series(name="mean", look="half", values=mean),
        Series(name="busiest", look="slow", values=most),
        Series(name="connections in use", look="pool", values=pool),
    ]
    picture = Picture(
        slug="workers",
        title="How busy the workers are",
        text=_text(most, words.share, "of the busiest one"),
        series=series,
        tell=words.share,
        least=1.0,
    )
    number = Number("workers", _told(now(hour.workers()), words.count))
    return Panel(picture, [number, *_now_and_worst(most, words.share)], series)


def _loop(hour: Hour) -> Panel:
    late = hour.most("loop_delay_seconds")
    series = [Series(name="the latest one", look="slow", values=late)]
    picture = Picture(
        slug="loop",
        title="Wait for a turn in a worker",
        text=_text(late, words.seconds, "in the worker that is latest"),
        series=series,
        tell=words.seconds,
        logarithmic=True,
        least=0.0001,
    )
    return Panel(picture, _now_and_worst(late, words.seconds), series)


def _now_and_worst(values: Values, tell: Tell) -> list[Number]:
    return [Number("now", _told(now(values), tell)), Number("most", _told(worst(values), tell))]


def _text(values: Values, tell: Tell, what: str) -> str:
    last, most = now(values), worst(values)
    if most is None:
        return "Nothing is known of the last hour."
    current = "now unknown" if last is None else f"now {tell(last)}"
    return f"{current}, at most {tell(most)} in the last hour ({what})."


def _told(value: float | None, tell: Tell) -> str:
    return "–" if value is None else tell(value)
