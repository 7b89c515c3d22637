"""What is shaped by hand, for speed, is what its schema describes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.links.schemas import FIELDS, LinkOut
from tests.caller import Caller

LINKS: tuple[dict[str, Any], ...] = (
    {},
    {
        "slug": "größe-99",
        "title": "Spring 🌷",
        "tags": ["a", "b"],
        "starts_at": "2026-03-01T09:30:00.120Z",
        "expires_at": "2090-03-01T09:30:00Z",
        "max_clicks": 5,
        "password": "correct horse",
        "redirect_status": 308,
        "forward_query": True,
        "state": "disabled",
        "metadata": {"b": [1, 2.5, None, 1e20], "a": {"ü": "\n"}},
    },
)


@pytest.mark.parametrize("fields", LINKS, ids=["bare", "full"])
def test_link_is_the_same_wherever_it_is_shown(caller: Caller, fields: dict[str, Any]) -> None:
    made = caller.post("/links", {"url": "https://example.com/ä?b=1"} | fields)
    assert made.status_code == 201
    link = orjson.loads(made.data)
    # The tokens of JSON themselves: an order, a spelling of a time or of a number may not differ.
    one = made.data
    read = caller.get(f"/links/{link['id']}")
    assert read.data == one
    assert read.headers["ETag"] == made.headers["ETag"]
    assert caller.get("/links").data == b'{"data":[' + one + b'],"next_cursor":null}'
    chosen = caller.get(f"/links?fields={','.join(FIELDS)}")
    assert chosen.data == b'{"data":[' + one + b'],"next_cursor":null}'
    assert caller.get("/links?state=" + link["state"]).data == chosen.data  # by way of a session
    for name in FIELDS:
        (row,) = orjson.loads(caller.get(f"/links?fields={name}").data)["data"]
        assert row == {name: link[name]}


@pytest.mark.parametrize("fields", LINKS, ids=["bare", "full"])
def test_link_is_what_its_schema_describes(caller: Caller, fields: dict[str, Any]) -> None:
    other_slug = {name: f"{value}-b" for name, value in fields.items() if name == "slug"}
    link = caller.create_link("https://example.com/", **(fields | other_slug))
    schema = LinkOut()
    assert tuple(link) == tuple(schema.fields)
    loaded = schema.load(link)
    shown = orjson.loads(orjson.dumps(schema.dump(loaded)))
    assert str(link["id"]) == shown["id"]
    for name in set(FIELDS) - {"id", "starts_at", "expires_at", "created_at", "updated_at"}:
        assert shown[name] == link[name]
        assert type(shown[name]) is type(link[name])
