"""Draws a dependency's last hour: a mark for each minute."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

_LOOKS = {True: "yes", False: "no", None: "unknown"}


def draw_strip(name: str, minutes: Sequence[bool | None]) -> Markup:
    """Good, bad or unknown, from the oldest to the newest."""
    bad = sum(state is False for state in minutes)
    known = sum(state is not None for state in minutes)
    text = f"{name}: away in {bad} of the {known} minutes of the last hour that are known"
    paths = "".join(
        f'<path class="{look}" d="'
        + "".join(f"M{4 * place} 0h3v20h-3z" for place, it in enumerate(minutes) if it is state)
        + '"/>'
        for state, look in _LOOKS.items()
    )
    return Markup(  # nosec B704 # noqa: S704 - the name is escaped
        f'<svg class="strip" viewBox="0 0 {4 * len(minutes)} 20" preserveAspectRatio="none" '
        f'role="img"><title>{escape(text)}</title>{paths}</svg>'
    )
