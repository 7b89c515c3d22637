"""QR codes of short links."""

from __future__ import annotations

import io

import pytest
import segno

from tests.answers import problem, wrong_fields
from tests.caller import Caller


def drawn(short_url: str, kind: str, error: str = "m", **style: object) -> bytes:
    """The image as segno draws it."""
    out = io.BytesIO()
    style = {"scale": 8, "border": 4, "dark": "#000000", "light": "#ffffff"} | style
    if kind == "svg":
        style["title"] = short_url
    segno.make_qr(short_url, error=error, boost_error=False).save(out, kind=kind, **style)
    return out.getvalue()


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", None, "svg"),
        ("", "*/*", "svg"),
        ("", "image/png", "png"),
        ("", "image/svg+xml", "svg"),
        ("", "image/svg+xml;q=0.5, image/png", "png"),
        ("", "text/html", "svg"),
        ("?format=png", "image/svg+xml", "png"),
        ("?format=svg", "image/png", "svg"),
    ],
)
def test_code_holds_the_short_url(
    caller: Caller, query: str, accept: str | None, kind: str
) -> None:
    link = caller.create_link()
    headers = {} if accept is None else {"Accept": accept}
    response = caller.get(f"/links/{link['id']}/qr{query}", headers=headers)
    assert response.status_code == 200
    assert response.mimetype == {"svg": "image/svg+xml", "png": "image/png"}[kind]
    assert response.data == drawn(link["short_url"], kind)
    assert "Accept" in response.headers["Vary"]
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_style_can_be_chosen(caller: Caller) -> None:
    link = caller.create_link()
    query = "format=png&scale=3&border=0&error=h&dark=%23123456&light=transparent"
    response = caller.get(f"/links/{link['id']}/qr?{query}")
    style = {"scale": 3, "border": 0, "dark": "#123456", "light": None}
    assert response.data == drawn(link["short_url"], "png", "h", **style)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("format=gif", "format"),
        ("scale=0", "scale"),
        ("scale=41", "scale"),
        ("scale=x", "scale"),
        ("border=-1", "border"),
        ("border=21", "border"),
        ("error=x", "error"),
        ("dark=red", "dark"),
        ("dark=%23fff", "dark"),
        ('dark=%23000000"/><script>', "dark"),
        ("light=%2300000g", "light"),
        ("light=%23ffffff%0A", "light"),
        ("size=5", "size"),
    ],
)
def test_wrong_parameter_is_named(caller: Caller, query: str, wrong: str) -> None:
    link = caller.create_link()
    assert wrong_fields(caller.get(f"/links/{link['id']}/qr?{query}")) == [wrong]


def test_known_image_answers_304(caller: Caller) -> None:
    path = f"/links/{caller.create_link()['id']}/qr"
    etag = {"If-None-Match": caller.get(path).headers["ETag"]}
    response = caller.get(path, headers=etag)
    assert response.status_code == 304
    assert response.data == b""
    assert caller.get(f"{path}?format=png", headers=etag).status_code == 200


def test_address_too_long_for_the_correction_answers_422(caller: Caller, slug: str) -> None:
    link = caller.create_link(slug="𝓐" * 110 + slug)
    path = f"/links/{link['id']}/qr"
    assert wrong_fields(caller.get(f"{path}?error=h")) == ["error"]
    assert caller.get(f"{path}?error=l").status_code == 200


def test_deleted_link_has_no_code(caller: Caller) -> None:
    link = caller.create_link()
    caller.delete(f"/links/{link['id']}")
    problem(caller.get(f"/links/{link['id']}/qr"), 404)
