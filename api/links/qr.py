"""QR codes of short links (ISO/IEC 18004), drawn by segno."""

from __future__ import annotations

import io
from dataclasses import dataclass

import segno

from api.core.errors import Invalid

CONTENT_TYPES = {"svg": "image/svg+xml", "png": "image/png"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QrStyle:
    """How a code looks."""

    format: str = "svg"
    scale: int = 8
    border: int = 4
    error: str = "m"
    dark: str = "#000000"
    light: str = "#ffffff"


def draw_qr(text: str, style: QrStyle) -> bytes:
    """An image of the QR code of `text`; modules are `scale` pixels wide.

    Raises:
        Invalid: the largest code of this error correction does not hold the text.
    """
    try:
        code = segno.make_qr(text, error=style.error, boost_error=False)
    except segno.DataOverflowError:
        detail = "The address is too long for this much error correction."
        raise Invalid.parameter("error", detail) from None
    out = io.BytesIO()
    options = {"scale": style.scale, "border": style.border, "dark": style.dark}
    light = None if style.light == "transparent" else style.light
    if style.format == "svg":
        code.save(out, kind="svg", light=light, title=text, **options)
    else:
        code.save(out, kind="png", light=light, **options)
    return out.getvalue()
