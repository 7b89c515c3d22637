"""What raw clicks look like."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from api.clicks.erasure import Erasure
from api.core.database.sessions import AnyRow
from api.core.schemas import EXAMPLE_TIME, Id, PageQuery, Schema, UtcTime, page_of


def _text(description: str, example: str | None) -> ma.fields.String:
    return ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"description": description, "example": example},
    )


class ClickOut(Schema):
    """One visit; null where it does not tell."""

    id = Id(required=True)
    clicked_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    bot = ma.fields.Boolean(
        required=True,
        metadata={
            "description": "A crawler, a preview, a prefetch or a HEAD request.",
            "example": False,
        },
    )
    visitor = ma.fields.String(
        required=True,
        metadata={
            "description": "Tells visitors apart within one UTC day; unrelated on the next.",
            "example": "9f86d081884c7d65",
        },
    )
    country = _text("ISO 3166-1 code.", "DE")
    referrer = _text("Host of the page that held the link.", "news.ycombinator.com")
    browser = _text("Family of the browser.", "Firefox")
    system = _text("Operating system.", "Linux")
    device = _text("desktop, mobile, tablet, tv, bot or other.", "desktop")
    language = _text("Primary subtag of the preferred language.", "de")
    utm_source = _text("From the query of the short link.", "newsletter")
    utm_medium = _text("From the query of the short link.", "email")
    utm_campaign = _text("From the query of the short link.", "spring")
    utm_term = _text("From the query of the short link.", None)
    utm_content = _text("From the query of the short link.", None)
    address = _text("Truncated to /24 or /48, where the installation keeps it.", None)


class ErasureOut(Schema):
    """No call shows the clicks any more; their rows are being deleted."""

    state = ma.fields.String(required=True, metadata={"example": "pending"})
    erased_until = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})


CLICK_QUERY = PageQuery()
CLICK_PAGE = page_of(ClickOut)

_TEXTS = tuple(
    name
    for name, field in ClickOut().fields.items()
    if isinstance(field, ma.fields.String) and field.allow_none
)


def present_click(click: AnyRow) -> dict[str, Any]:
    """A click as `ClickOut` describes it."""
    shown = {
        "id": str(click.id),
        "clicked_at": click.clicked_at,
        "bot": click.bot,
        "visitor": f"{click.visitor & 0xFFFF_FFFF_FFFF_FFFF:016x}",
    }
    return shown | {name: getattr(click, name) or None for name in _TEXTS}


def present_erasure(erasure: Erasure) -> dict[str, Any]:
    """An erasure that is not finished, as `ErasureOut` describes it."""
    return {"state": "pending", "erased_until": erasure.erased_until}
