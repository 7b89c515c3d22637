"""A workspace is erased from all databases, with proof, and no other one is touched."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import func, select

from api.audit.service import AuditLog
from api.clicks.ingest import Ingest
from api.clicks.records import ORPHAN_UNKNOWN, OrphanRecord
from api.core.evictions import Evictions
from api.core.ids import slot_of_id
from api.models import METADATA
from api.oauth.tokens import REGISTRY
from api.targets.known import KnownRules
from api.targets.service import BlockedTargets
from api.transfers.erasure.work import Eraser
from tests.caller import Caller
from tests.factories.clicks import a_click, a_segment, now_ms
from tests.shards.conftest import HALF, Shards

# What stays, which names nobody but by a number.
KEPT = {"erased_workspaces", "workspace_erasures"}
# These cannot be filled through the API.
SELDOM = {"title_fetches", "click_horizons", "link_usage", "oauth_grants", "orphan_visits"}
# Tables in which nothing is of a workspace.
NOBODYS = {
    "users",
    "oidc_subjects",
    "revocations",
    "shards",
    "slots",
    "slot_map",
    "slot_moves",
    "ingested_segments",
    "click_count_progress",
}


@pytest.fixture
def eraser(shards: Shards) -> Callable[..., Eraser]:
    """Makes what workers erase with; by default one that does not wait."""

    def make(settle: timedelta = timedelta()) -> Eraser:
        settings = shards.settings
        evictions = Evictions(settings.redis_url, settings.redis_timeout_seconds)
        secret = settings.resolved_secret_key()
        known = KnownRules(shards.db, evictions)
        blocked = BlockedTargets(shards.db, evictions, known, secret)
        return Eraser(shards.db, evictions, AuditLog(shards.db, secret), blocked, settle)

    return make


def fill(shards: Shards, ingest: Ingest) -> tuple[Caller, list[dict[str, Any]]]:
    """A workspace that has something of everything, on both shards."""
    caller = shards.caller()
    name = uuid.uuid4().hex[:8]
    owner = caller.with_role("owner")
    links = []
    for number in range(16):
        headers = {"Idempotency-Key": f"{name}-{number}"}
        body = {
            "url": f"https://example.com/{number}",
            "tags": ["a"],
            "slug": f"{number * 7919}-{name}",
        }
        made = caller.post("/links", body, headers=headers)
        assert made.status_code == 201
        links.append(made.json)
    assert {slot_of_id(int(link["id"])) < HALF for link in links} == {True, False}
    for path, body in (
        ("/domains", {"host": f"{name}.example"}),
        ("/invitations", {"email": f"{name}@example.com", "role": "viewer"}),
        ("/blocked-targets", {"kind": "host", "value": f"{name}.example.org"}),
        (
            "/oauth-clients",
            {"name": "Program", "grant_types": ["client_credentials"], "scopes": ["links:read"]},
        ),
    ):
        made = owner.post(path, body)
        assert made.status_code == 201, made.text
    rows = b'{"url": "https://example.com/"}\n'
    made = owner.request("POST", "/imports", data=rows, content_type="application/x-ndjson")
    assert made.status_code == 202, made.text
    clicks = [
        a_click(int(link["id"]), workspace_id=caller.workspace_id) for link in links for _ in "ab"
    ]
    ingest.ingest([a_segment(clicks)])
    assert caller.delete(f"/links/{links[0]['id']}/clicks").status_code in (202, 204)
    for link in links[:3]:
        assert caller.delete(f"/links/{link['id']}").status_code == 204
    return caller, links


def rows_of(shards: Shards, workspace: int, links: list[dict[str, Any]]) -> dict[str, int]:
    """How many rows of each table name a workspace, or a link of it."""
    ids = [int(link["id"]) for link in links]
    found: dict[str, int] = {}
    for lineage, engines in (("directory", ("main",)), ("shard", ("main", "second"))):
        for name, table in METADATA[lineage].tables.items():
            names = {
                "workspace_id": [workspace],
                "owner_id": [workspace],
                "link_id": ids,
            }
            conditions = [table.c[key].in_(those) for key, those in names.items() if key in table.c]
            if name == "workspaces":
                conditions = [table.c.id == workspace]
            if not conditions:
                continue
            query = select(func.count()).select_from(table).where(conditions[0])
            for other in conditions[1:]:
                query = select(func.count()).select_from(table).where(conditions[0] | other)
            for engine in engines:
                with shards.engines[engine].connect() as connection:
                    found[name] = found.get(name, 0) + connection.execute(query).scalar_one()
    return found


def ask(caller: Caller, shards: Shards) -> str:
    """Ask for the erasure; the path that tells of it."""
    caller.patch(f"/workspaces/{caller.workspace_id}", {"name": "Gone Inc."})
    refused = caller.post(f"/workspaces/{caller.workspace_id}/erasure", {"name": "Other Inc."})
    assert refused.status_code == 422
    answer = caller.post(f"/workspaces/{caller.workspace_id}/erasure", {"name": "Gone Inc."})
    assert answer.status_code == 202, answer.text
    assert answer.json["state"] == "erasing"
    return str(answer.headers["Location"])


def told(shards: Shards, path: str) -> Mapping[str, Any]:
    answer = shards.app.test_client().get(path)
    assert answer.status_code == 200
    return dict(answer.json or {})


def test_all_of_a_workspace_is_erased_and_nothing_of_another(
    shards: Shards, ingest: Ingest, eraser: Callable[..., Eraser]
) -> None:
    caller, links = fill(shards, ingest)
    other, others = fill(shards, ingest)
    before = rows_of(shards, caller.workspace_id, links)
    assert {name for name, rows in before.items() if not rows} <= SELDOM | KEPT
    untouched = rows_of(shards, other.workspace_id, others)
    path = ask(caller, shards)

    # At once, before any worker comes.
    assert caller.get("/links").status_code == 401
    visitor = shards.app.test_client()
    assert visitor.get(f"/{links[5]['slug']}").status_code == 410

    list(eraser().work())

    left = rows_of(shards, caller.workspace_id, links)
    assert {name: rows for name, rows in left.items() if rows and name not in KEPT} == {
        "target_rule_changes": 1  # by which processes learn that there are none any more
    }
    assert visitor.get(f"/{links[5]['slug']}").status_code == 404
    now = rows_of(shards, other.workspace_id, others)
    assert now == untouched
    assert other.get(f"/links/{others[5]['id']}").status_code == 200
    assert visitor.get(f"/{others[5]['slug']}").status_code == 302

    erasure = told(shards, path)
    assert erasure["state"] == "erased"
    assert erasure["erased"]["links"] == len(links)
    assert erasure["erased"]["clicks"] == 2 * (len(links) - 1)
    keys = KeySet.import_key_set(visitor.get("/.well-known/jwks.json").json)
    read = jwt.decode(erasure["certificate"], keys, registry=REGISTRY)
    assert read.header["typ"] == "erasure+jwt"
    assert read.claims["sub"] == f"workspace:{caller.workspace_id}"
    assert read.claims["erased"] == erasure["erased"]
    assert not any(read.claims["found_after"].values())
    looked_at = set(read.claims["found_after"]) | {"workspaces", "target_rules"} | KEPT
    assert set(before) - looked_at == {"target_rule_changes"}
    assert visitor.get(path + "x").status_code == 404


def test_each_table_names_its_workspace_or_goes_with_one_that_does() -> None:
    for tables in (METADATA["directory"].tables, METADATA["shard"].tables):
        named = {
            name
            for name, table in tables.items()
            if name == "workspaces" or {"workspace_id", "owner_id", "link_id"} & set(table.c.keys())
        }
        left = set(tables) - named - NOBODYS
        while left:
            going = {
                name
                for name in left
                for key in tables[name].foreign_keys
                if key.ondelete == "CASCADE" and key.column.table.name in named
            }
            assert going, f"nobody erases {sorted(left)}"
            named |= going
            left -= going


def test_clicks_that_come_late_do_not_come_back(
    shards: Shards, ingest: Ingest, eraser: Callable[..., Eraser]
) -> None:
    caller, links = fill(shards, ingest)
    other = shards.caller()
    kept = int(other.create_link()["id"])
    ask(caller, shards)
    list(eraser().work())
    late = [a_click(int(link["id"]), workspace_id=caller.workspace_id) for link in links]
    unknown = OrphanRecord(now_ms(), ORPHAN_UNKNOWN, "x.example", caller.workspace_id, 1)
    ingest.ingest(
        [a_segment([*late, a_click(kept, workspace_id=other.workspace_id)], tail=unknown.to_line())]
    )
    left = rows_of(shards, caller.workspace_id, links)
    assert {name for name, rows in left.items() if rows} - KEPT == {"target_rule_changes"}
    assert other.get(f"/links/{kept}/stats").json["total"]["clicks"] == 1


def test_a_worker_that_is_killed_is_followed_by_another(
    shards: Shards, ingest: Ingest, eraser: Callable[..., Eraser], monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, links = fill(shards, ingest)
    path = ask(caller, shards)
    monkeypatch.setattr("api.transfers.erasure.work._CLAIM", timedelta(milliseconds=300))
    killed: Iterator[Any] = eraser().work()
    assert len(list(islice(killed, 8))) == 8
    assert told(shards, path)["state"] == "erasing"
    # While it is not known to be dead, nobody else begins.
    assert list(eraser().work()) == []
    monkeypatch.setattr("time.sleep", lambda _: None)
    for _ in range(200):
        list(eraser().work())
        if told(shards, path)["state"] == "erased":
            break
    left = rows_of(shards, caller.workspace_id, links)
    assert {name for name, rows in left.items() if rows} - KEPT == {"target_rule_changes"}


def test_it_is_not_finished_before_old_requests_can_have_ended(
    shards: Shards, ingest: Ingest, eraser: Callable[..., Eraser]
) -> None:
    caller = shards.caller()
    caller.create_link()
    path = ask(caller, shards)
    list(eraser(timedelta(minutes=1)).work())
    assert told(shards, path)["state"] == "erasing"
    assert told(shards, path)["certificate"] is None


def test_only_who_manages_the_workspace_can_erase_it(shards: Shards) -> None:
    caller, other = shards.caller(), shards.caller()
    path = f"/workspaces/{caller.workspace_id}/erasure"
    assert other.post(path, {"name": "Test"}).status_code == 404
    assert caller.with_role("editor").post(path, {"name": "Test"}).status_code == 403
    assert caller.get("/links").status_code == 200
