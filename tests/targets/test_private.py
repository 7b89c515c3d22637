"""Links into one's own network, where they are refused."""

from __future__ import annotations

import pytest

from tests.answers import wrong_fields
from tests.caller import Caller
from tests.targets.conftest import AppMaker

PRIVATE = "http://0xA9.0xFE.43518/latest/meta-data/"


@pytest.fixture
def strict(make_app: AppMaker, caller: Caller) -> Caller:
    """The caller, of a service for strangers."""
    return Caller(
        make_app(ALLOW_PRIVATE_TARGETS="false"), caller.identity, caller.workspace_id, caller.key
    )


def test_intranet_is_a_target_like_others_by_default(caller: Caller) -> None:
    for url in ("http://wiki/", "http://192.168.0.7:8123/", "http://localhost:3000/"):
        caller.create_link(url)


def test_private_target_is_refused_at_creation_and_change(strict: Caller) -> None:
    assert wrong_fields(strict.post("/links", {"url": PRIVATE})) == ["/url"]
    link = strict.create_link("https://example.com/")
    assert wrong_fields(strict.patch(f"/links/{link['id']}", {"url": PRIVATE})) == ["/url"]
    operations = [
        {"op": "create", "link": {"url": PRIVATE}},
        {"op": "create", "link": {"url": "http://[::ffff:127.0.0.1]/"}},
        {"op": "create", "link": {"url": "https://example.com/"}},
    ]
    answer = strict.post("/links/batch", {"operations": operations})
    statuses = [result["status"] for result in (answer.json or {})["results"]]
    assert statuses == [422, 422, 201]
