"""One link of each kind that a visitor can come upon."""

from __future__ import annotations

from typing import Any

from api.core.database.routing import Database
from api.identity.service import IdentityService
from config.settings import Settings
from tests.redirects.wire.server import WebServer

HOST = "wire.test"
OWN_DOMAIN = "go.wire.test"
# All links lead below this address, so that their answers are known from all others.
TARGET = "https://target.example/"

# By slug: what the link is, beside its target.
LINKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "moved": {"redirect_status": 301},
    "temporary": {"redirect_status": 307},
    "permanent": {"redirect_status": 308},
    "forward": {"forward_query": True},
    "secret": {"password": "pw"},
    "limited": {"max_clicks": 1_000_000},
    "used-up": {"max_clicks": 2},  # one for each server, before they are compared
    "expired": {"expires_at": "2026-01-02T00:00:00Z"},
    "expiring": {"expires_at": "2099-01-02T00:00:00Z"},
    "future": {"starts_at": "2099-01-02T00:00:00Z"},
    "disabled": {"state": "disabled"},
    "deleted": {},
    "a.b-c_d": {},
    "UPPER": {},
    "straße": {},
    "日本語": {},
    "é": {},
    "x" * 128: {},
    "0": {},
    "long-target": {"url": TARGET + "y" * 1900},
    "odd-target": {"url": TARGET + "a%20b/ü?q=1&r=%2F#part"},
    "odd-forward": {"url": TARGET + "p?q=1&q=2#part", "forward_query": True},
}


def make_key(settings: Settings) -> str:
    """An API key of a new workspace."""
    db = Database(settings)
    try:
        identity = IdentityService(db, settings.resolved_secret_key())
        return identity.create_key(identity.create_workspace("Wire").id, name="Wire")[1]
    finally:
        db.dispose()


def make_links(server: WebServer, key: str) -> None:
    """Make all links, those of another domain, too; those that are there already stay."""
    must(server.call(key, "POST", "/domains", {"host": OWN_DOMAIN}))
    for slug, fields in LINKS.items():
        make_link(server, key, slug=slug, **fields)
    make_link(server, key, slug="plain", domain=OWN_DOMAIN, url=TARGET + "own/plain")
    make_link(server, key, slug="only-here", domain=OWN_DOMAIN)


def make_link(server: WebServer, key: str, **fields: Any) -> dict[str, Any]:
    """A link that must come to be."""
    made = must(server.call(key, "POST", "/links", {"url": TARGET + fields["slug"]} | fields))
    if fields["slug"] == "deleted":
        must(server.call(key, "DELETE", f"/links/{made['id']}"))
    return dict(made)


def must(answer: tuple[int, Any]) -> Any:
    """The body of a success."""
    status, body = answer
    assert status < 300, body
    return body
