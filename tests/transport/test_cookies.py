"""Cookies as browsers are told to keep them."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
from flask import Flask, Response

from api.core.cookies import Cookie
from config.settings import Settings


def attributes(cookie: Cookie, value: str, seconds: int) -> dict[str, object]:
    response = Response()
    cookie.set(response, value, seconds)
    (line,) = response.headers.getlist("Set-Cookie")
    ((name, morsel),) = SimpleCookie(line).items()
    return {"name": name, "value": morsel.value} | {
        key: value for key, value in morsel.items() if value
    }


@pytest.mark.parametrize(
    ("base_url", "name", "secure"),
    [
        ("https://sign.test", "__Host-session", {"secure": True}),
        ("http://127.0.0.1:8000", "session", {}),
    ],
)
def test_cookie_is_kept_from_scripts_sites_and_hosts(
    base_url: str, name: str, secure: dict[str, bool]
) -> None:
    cookie = Cookie.of(Settings.load({"BASE_URL": base_url}), "session")
    common = {"name": name, "path": "/", "httponly": True, "samesite": "Lax"} | secure

    for value, seconds in (("value", 60), ("", 0)):
        found = attributes(cookie, value, seconds)
        assert found.pop("expires")
        assert found == common | {"value": value, "max-age": str(seconds)}


def test_only_the_cookie_of_this_host_counts() -> None:
    cookie = Cookie.of(Settings.load({"BASE_URL": "https://sign.test"}), "session")

    for header, value in (
        ("session=neighbour", None),
        ("__Host-session=ours; session=neighbour", "ours"),
        ("", None),
    ):
        with Flask(__name__).test_request_context(headers={"Cookie": header}):
            assert cookie.read() == value
