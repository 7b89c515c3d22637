"""Draws what changes over time as SVG: panels below one another, over the same hours or seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.chart import FAINT, FONT, PAPER, text

_WIDTH = 880
_LEFT, _RIGHT = 74, 24
_TOP, _PANEL, _BETWEEN, _BELOW = 76, 132, 46, 44
_POINTS = 900  # more than there are pixels show nothing more
_GRID = "#e3e7eb"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series, with a value for each moment of the picture."""

    label: str
    values: Sequence[float]
    colour: str
    steps: bool = False  # a number that holds until the next one
    filled: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines with one scale."""

    title: str
    unit: str
    lines: Sequence[Line]


def draw(title: str, subtitle: str, times: Sequence[float], unit: str, panels: list[Panel]) -> str:
    """The whole picture; `times` are in `unit`."""
    height = _TOP + len(panels) * (_PANEL + _BETWEEN) + _BELOW - _BETWEEN // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" font-family="{FONT}" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="{PAPER}"/>',
        text(24, 36, title, size=20, weight=700),
        text(24, 58, subtitle, colour=FAINT),
    ]
    for place, panel in enumerate(panels):
        parts += _panel(panel, times, _TOP + place * (_PANEL + _BETWEEN) + 26)
    bottom = _TOP + len(panels) * (_PANEL + _BETWEEN) - 4
    for share in (0, 0.25, 0.5, 0.75, 1):
        moment = times[0] + share * (times[-1] - times[0])
        x = round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT))
        anchor = "end" if share == 1 else "middle"
        parts.append(text(x, bottom, f"{moment:.0f} {unit}", size=12, colour=FAINT, anchor=anchor))
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, times: Sequence[float], top: int) -> list[str]:
    highest = _nice(max(max(line.values) for line in panel.lines))
    parts = [text(_LEFT, top - 8, panel.title, size=14, weight=600)]
    right = _WIDTH - _RIGHT
    for line in reversed(panel.lines):
        parts.append(
            text(right, top - 8, f"━ {line.label}", size=12, colour=line.colour, anchor="end")
        )
        right -= 26 + 7 * len(line.label)
    for share in (0, 0.5, 1):
        y = round(top + (1 - share) * _PANEL)
        parts += [
            f'<line x1="{_LEFT}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}" stroke="{_GRID}"/>',
            text(
                _LEFT - 8, y + 4, f"{share * highest:g} {panel.unit}".strip(),
                size=12, colour=FAINT, anchor="end",
            ),
        ]  # fmt: skip
    return parts + [_draw(line, times, top, highest) for line in panel.lines]


def _draw(line: Line, times: Sequence[float], top: int, highest: float) -> str:
    stride = max(len(times) // _POINTS, 1)
    span = (times[-1] - times[0]) or 1
    path, height = "", 0.0
    for moment, value in zip(times[::stride], line.values[::stride], strict=True):
        x = _LEFT + (moment - times[0]) / span * (_WIDTH - _LEFT - _RIGHT)
        y = top + (1 - min(value / highest, 1)) * _PANEL
        path += (
            f"H{x:.1f}V{y:.1f}" if path and line.steps else f"{'L' if path else 'M'}{x:.1f} {y:.1f}"
        )
        height = x
    drawn = f'<path d="{path}" fill="none" stroke="{line.colour}" stroke-width="1.8"/>'
    if not line.filled:
        return drawn
    area = f"{path}L{height:.1f} {top + _PANEL}L{_LEFT} {top + _PANEL}Z"
    return f'<path d="{area}" fill="{line.colour}" fill-opacity="0.18"/>{drawn}'


def _nice(value: float) -> float:
    """The next round number."""
    scale = 1.0
    while value > 10 * scale:
        scale *= 10
    while value <= scale and scale > 1e-3:
        scale /= 10
    return next(step * scale for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if value <= step * scale)
