"""Numbers and moments as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_SIZES = ("B", "kB", "MB", "GB", "TB")


def count(value: float) -> str:
    """A number without a unit, in at most five characters."""
    if value >= 999_500:
        return f"{_short(value / 1_000_000)}M"
    if value >= 10_000:
        return f"{_short(value / 1_000)}k"
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2g}"


def seconds(value: float) -> str:
    """A length of time, in the unit that suits it."""
    if value >= 7_200:
        return f"{value / 3_600:.0f} h"
    if value >= 120:
        return f"{value / 60:.0f} min"
    if value >= 1:
        return f"{_short(value)} s"
    return f"{_short(value * 1_000)} ms" if value else "0 s"


def size(value: float) -> str:
    """Bytes, in powers of a thousand."""
    power = 0
    while value >= 999.5 and power < len(_SIZES) - 1:
        value /= 1_000
        power += 1
    return f"{_short(value)} {_SIZES[power]}"


def share(value: float) -> str:
    """Per cent."""
    return f"{value * 100:.0f} %" if value >= 0.01 or value == 0 else f"{value * 100:.2f} %"


def clock(at: float) -> str:
    """The time of the day, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M}"


def _short(value: float) -> str:
    """Two or three digits, never an exponent."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"
