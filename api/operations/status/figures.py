"""What is kept of a minute: numbers by name, which add up over hosts and over the samples of it.

Names are few and fixed, so a minute has a bounded size: docs/status.md has them all.
"""

from __future__ import annotations

from collections.abc import Mapping

Figures = dict[str, float]

# Of what begins so the largest counts; everything else is summed.
MOST = "max."


def add(figures: Figures, more: Mapping[str, float]) -> None:
    """Put what another sample, or another host, tells of the same minute into `figures`."""
    for name, value in more.items():
        held = figures.get(name, 0.0)
        figures[name] = max(held, value) if name.startswith(MOST) else held + value


def fullest(one: Mapping[str, float] | None, other: Mapping[str, float] | None) -> Figures | None:
    """What is known of a minute from two places, each of which may have missed something.

    Nothing here ever shrinks, and what one host knows is a part of what all hosts know: of two
    numbers the larger one has missed less.
    """
    if one is None or other is None:
        known = other if one is None else one
        return None if known is None else dict(known)
    return {name: max(one.get(name, 0.0), other.get(name, 0.0)) for name in one.keys() | other}
