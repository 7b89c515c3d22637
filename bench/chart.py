"""Draws bars as SVG, without a library: a picture of figures is text and rectangles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH = 880
_LABEL_WIDTH = 230
_VALUE_WIDTH = 170
_BAR, _GAP = 22, 8
_TITLE, _AFTER = 34, 18
_MARGIN = 24
OWN, OWN_FAINT, OTHER = "#0b6e4f", "#8cc0ae", "#b7bfc7"
INK, FAINT, PAPER = "#1b1f24", "#5a6370", "#ffffff"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One value, with what is said of it beside the number."""

    label: str
    value: float
    note: str = ""
    digits: int = 0  # behind the point
    colour: str = OTHER


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Bars that are compared: they have one scale."""

    title: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        """In pixels."""
        return _TITLE + len(self.bars) * (_BAR + _GAP) + _AFTER


def draw(title: str, subtitle: str, panels: Sequence[Panel]) -> str:
    """The whole picture."""
    top = _MARGIN + 50
    height = top + sum(panel.height for panel in panels) + _MARGIN - _AFTER
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" role="img" font-family="{FONT}" font-size="14">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="{PAPER}"/>',
        text(_MARGIN, _MARGIN + 16, title, size=20, weight=700),
        text(_MARGIN, _MARGIN + 38, subtitle, colour=FAINT),
    ]
    for panel in panels:
        parts += _panel(panel, top)
        top += panel.height
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, top: int) -> list[str]:
    parts = [text(_MARGIN, top + 22, panel.title, weight=600)]
    start = _MARGIN + _LABEL_WIDTH
    room = _WIDTH - start - _VALUE_WIDTH - _MARGIN
    longest = max(bar.value for bar in panel.bars) or 1
    for place, bar in enumerate(panel.bars):
        y = top + _TITLE + place * (_BAR + _GAP)
        width = max(round(room * bar.value / longest), 1)
        weight = 600 if bar.colour == OWN else 400
        baseline = y + _BAR - 6
        said = f"{bar.value:,.{bar.digits}f}" + (f" · {bar.note}" if bar.note else "")
        parts += [
            text(start - 10, baseline, bar.label, weight=weight, anchor="end"),
            f'<rect x="{start}" y="{y}" width="{width}" height="{_BAR}" rx="3" '
            f'fill="{bar.colour}"/>',
            text(start + width + 8, baseline, said, weight=weight),
        ]
    return parts


def text(
    x: int,
    y: int,
    text: str,
    *,
    size: int = 14,
    weight: int = 400,
    colour: str = INK,
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
