"""Draws a series of the last hour as SVG: bars for what is counted, lines for what is measured.

Colours come from the page's style sheet, by class, so a picture is light or dark with the page.
What is not known leaves a gap, with a ground of its own; nought is a line on the ground.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup, escape

from api.operations.status.hour import Values

_WIDTH, _HEIGHT = 360, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 2, 10, 130
_ROOM = _WIDTH - _LEFT - _RIGHT
_BAR_SHARE = 0.8
_NICE = (1, 2, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One value a minute, and how it looks."""

    name: str
    look: str  # a class of the style sheet
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What should not be passed."""

    value: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is drawn together: it has one scale."""

    slug: str
    title: str
    text: str  # what can be seen in it, for who cannot see it
    series: Sequence[Series]
    tell: Callable[[float], str]  # a value, with its unit
    stacked: bool = False
    logarithmic: bool = False
    least: float  # up to which the scale goes at least, or from which on if it is logarithmic
    limit: Limit | None = None

    @property
    def gaps(self) -> list[bool]:
        """Of which minutes nothing is known."""
        return [all(value is None for value in values) for values in self._columns()]

    def draw(self, labels: tuple[str, str, str]) -> Markup:
        """The whole picture; `labels` stand below its beginning, its middle and its end."""
        scale = self._scale()
        parts = [
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            f'aria-labelledby="{self.slug}-title {self.slug}-text">',
            f'<title id="{self.slug}-title">{escape(self.title)}</title>',
            f'<desc id="{self.slug}-text">{escape(self.text)}</desc>',
            *self._grounds(),
            *_grid(scale, self.tell),
            *(self._bars(scale) if self.stacked else self._lines(scale)),
            *self._limit(scale),
            *_times(labels),
            "</svg>",
        ]
        return Markup("".join(parts))  # nosec B704 # noqa: S704 - what is told is escaped

    def _columns(self) -> Iterator[tuple[float | None, ...]]:
        return zip(*(each.values for each in self.series), strict=True)

    def _scale(self) -> Scale:
        columns = [[value for value in column if value is not None] for column in self._columns()]
        summed = sum if self.stacked else max
        most = max((summed(column) for column in columns if column), default=0.0)
        if self.limit is not None and self.logarithmic:
            most = max(most, self.limit.value)
        if self.logarithmic:
            return Scale.logarithmic(self.least, most)
        return Scale.linear(max(most, self.least))

    def _grounds(self) -> Iterator[str]:
        place = 0
        for gap, run in groupby(self.gaps):
            width = len(list(run))
            if gap:
                yield (
                    f'<rect class="gap" x="{_x(place, len(self.gaps))}" y="{_TOP}" '
                    f'width="{_step(len(self.gaps)) * width:.1f}" height="{_BOTTOM - _TOP}"/>'
                )
            place += width

    def _bars(self, scale: Scale) -> Iterator[str]:
        columns = list(self._columns())
        step = _step(len(columns))
        floors = [0.0] * len(columns)
        ground = "".join(
            f"M{_x(place, len(columns))} {_BOTTOM}h{step:.1f}"
            for place, gap in enumerate(self.gaps)
            if not gap
        )
        yield f'<path class="ground" d="{ground}"/>'
        for each in self.series:
            path = []
            for place, value in enumerate(each.values):
                if not value:
                    continue
                low, high = scale.y(floors[place]), scale.y(floors[place] + value)
                floors[place] += value
                # Whatever happened at all can be seen.
                top = min(high, low - 0.8)
                width = step * _BAR_SHARE
                path.append(
                    f"M{_x(place, len(columns))} {low:.1f}h{width:.1f}V{top:.1f}h{-width:.1f}z"
                )
            yield f'<path class="bar {each.look}" d="{"".join(path)}"/>'

    def _lines(self, scale: Scale) -> Iterator[str]:
        for each in self.series:
            number = len(each.values)
            path, pen = [], "M"
            for place, value in enumerate(each.values):
                if value is None:
                    pen = "M"
                    continue
                x = _LEFT + _step(number) * (place + 0.5)
                # A minute between two gaps can be seen, too.
                start = "h-2h2" if pen == "M" else ""
                path.append(f"{pen}{x:.1f} {scale.y(value):.1f}{start}")
                pen = "L"
            yield f'<path class="line {each.look}" d="{"".join(path)}"/>'

    def _limit(self, scale: Scale) -> Iterator[str]:
        if self.limit is None or not scale.low <= self.limit.value <= scale.high:
            return
        y = scale.y(self.limit.value)
        yield f'<path class="limit" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        # Above its line, if there is room.
        baseline = y - 4 if y > _TOP + 12 else y + 12
        yield (
            f'<text class="limit" x="{_WIDTH - _RIGHT}" y="{baseline:.1f}" text-anchor="end">'
            f"{escape(self.limit.name)}</text>"
        )


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to heights."""

    low: float
    high: float
    ticks: Sequence[float]
    log: bool = False

    @classmethod
    def linear(cls, most: float) -> Scale:
        """From nought to a round number above the largest."""
        high = _round_up(most)
        return cls(0.0, high, (0.0, high / 2, high))

    @classmethod
    def logarithmic(cls, least: float, most: float) -> Scale:
        """In powers of ten, of which three or four are told."""
        low = math.floor(math.log10(least))
        high = max(math.ceil(math.log10(max(most, least)) - 1e-9), low + 2)
        stride = max((high - low + 2) // 4, 1)
        return cls(10**low, 10**high, [10**power for power in range(low, high + 1, stride)], True)

    def y(self, value: float) -> float:
        """The height of a value; what lies outside is drawn at the edge."""
        value = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = value / self.high
        return _BOTTOM - (_BOTTOM - _TOP) * share


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return power * next(nice for nice in _NICE if value <= power * nice * (1 + 1e-9))


def _step(number: int) -> float:
    return _ROOM / number


def _x(place: int, number: int) -> str:
    return f"{_LEFT + _step(number) * place:.1f}"


def _grid(scale: Scale, tell: Callable[[float], str]) -> Iterator[str]:
    for tick in scale.ticks:
        y = scale.y(tick)
        if y < _BOTTOM:
            yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        yield (
            f'<text x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{escape(tell(tick))}</text>'
        )


def _times(labels: tuple[str, str, str]) -> Iterator[str]:
    places = ((_LEFT, "start"), (_LEFT + _ROOM / 2, "middle"), (_WIDTH - _RIGHT, "end"))
    for label, (x, anchor) in zip(labels, places, strict=True):
        yield f'<text x="{x:g}" y="{_HEIGHT - 4}" text-anchor="{anchor}">{escape(label)}</text>'
