"""The default domain, that of `BASE_URL`, in whatever spelling it was given."""

from __future__ import annotations

import uuid

import pytest

from api.app import create_app
from api.identity.service import IdentityService
from config.settings import Settings, SettingsError
from tests.answers import wrong_fields
from tests.caller import Caller


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://go.example.com/", "https://go.example.com"),
        ("HTTPS://GO.Example.com:443", "https://go.example.com"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("https://exämple.com", "https://xn--exmple-cua.com"),
    ],
)
def test_base_url_has_one_spelling(given: str, kept: str) -> None:
    assert Settings.load({"BASE_URL": given}).public_url == kept


@pytest.mark.parametrize(
    "text",
    [
        *("go.example.com", "ftp://example.com", "https://", "https://example.com/path"),
        *("https://example.com/?x", "https://example.com/#x", "https://user@example.com"),
        *("https://exa mple.com", "https://example.com:99999", "https://[::1"),
    ],
)
def test_what_is_no_base_url_is_named_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^BASE_URL: Not of the form .*$"):
        Settings.load({"BASE_URL": text})


def test_international_default_domain_works(
    environ: dict[str, str], identity: IdentityService
) -> None:
    app = create_app(Settings.load(environ | {"BASE_URL": "https://kürz.example"}))
    caller = Caller.of_new_workspace(app, identity)
    link = caller.create_link(slug=uuid.uuid4().hex, domain="KÜRZ.example")
    assert link["domain"] == "xn--krz-hoa.example"
    assert link["short_url"] == f"https://xn--krz-hoa.example/{link['slug']}"
    assert wrong_fields(caller.post("/domains", {"host": "kürz.example"})) == ["/host"]
    body = {"url": "http://kürz.example/x"}
    assert wrong_fields(caller.post("/links", body)) == ["/url"]
    app.extensions["signpost"].db.dispose()
