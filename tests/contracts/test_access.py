"""Who is let in where: every route, with each kind of credential and in each role.

No route, no argument of a path and no field that names a thing can be added without being looked
at here: what this does not know fails.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from api.core.principal import ROLES, SCOPES
from api.oauth.tokens import AccessToken, Tokens
from tests.caller import Caller
from tests.contracts.things import Things
from tests.contracts.walk import API, Asked, Bodies, requests_of, scope_of
from tests.oauth.programs import Program

CLIENT_ID = "sp_client_of_these_tests"


@pytest.fixture
def mine(caller: Caller) -> Things:
    return Things.of(caller, f"mine{secrets.token_hex(4)}")


@pytest.fixture
def theirs(other_caller: Caller) -> Things:
    return Things.of(other_caller, f"theirs{secrets.token_hex(4)}")


def guarded(app: Flask, ids: dict[str, str]) -> Iterator[tuple[Asked, str | None]]:
    """The requests that need a credential, each with the scope that it needs."""
    scopes = {
        rule.endpoint: scope_of(app, rule)
        for rule in app.url_map.iter_rules()
        if hasattr(app.view_functions[rule.endpoint], "required_scope")
    }
    for asked in requests_of(app, ids):
        if asked.endpoint in scopes and asked.method not in ("HEAD", "OPTIONS"):
            yield asked, scopes[asked.endpoint]


def ask(app: Flask, asked: Asked, authorization: str = "") -> TestResponse:
    """Send a request; of a stream only its beginning is waited for."""
    headers = {"Authorization": authorization} if authorization else {}
    return app.test_client().open(headers=headers, **asked.arguments())


def with_token(member: Caller, **changes: Any) -> Caller:
    """The same with an access token in the place of the key."""
    tokens: Tokens = member.app.extensions["signpost.services"][Tokens]
    now = int(time.time())
    facts: dict[str, Any] = {
        "token_id": secrets.token_hex(16),
        "client_id": CLIENT_ID,
        "workspace_id": member.workspace_id,
        "scopes": frozenset(SCOPES),
        # Past the moment up to which a change of the role has just ended what was given out.
        "issued_at": now + 3,
        "expires_at": now + 300,
        "user_id": member.user_id,
    }
    return replace(member, key=tokens.write(AccessToken(**(facts | changes))))


def of_role_by_key(caller: Caller, role: str) -> Caller:
    return caller.with_role(role)


def of_role_by_token(caller: Caller, role: str) -> Caller:
    return with_token(caller.with_role(role), scopes=ROLES[role])


Member = Callable[[Caller, str], Caller]
MEMBERS: dict[str, Member] = {"key": of_role_by_key, "token": of_role_by_token}


@pytest.mark.parametrize("kind", MEMBERS)
@pytest.mark.parametrize("role", ROLES)
def test_role_reaches_what_it_gives_and_nothing_else(
    app: Flask, caller: Caller, role: str, kind: str
) -> None:
    member = MEMBERS[kind](caller, role)
    reached, refused = set(), set()
    for asked, scope in guarded(app, {}):
        answer = ask(app, asked, f"Bearer {member.key}")
        answer.close()
        if scope is None or scope in ROLES[role]:
            # Nothing has the id that is asked for; what matters is that nobody stands in the way.
            assert answer.status_code not in (401, 403), (asked, answer.text)
            reached.add(scope)
        else:
            assert answer.status_code == 403, asked
            assert scope in answer.headers["WWW-Authenticate"], asked
            refused.add(scope)
    assert reached >= ROLES[role] - {"transfers"}
    assert refused >= SCOPES.keys() - ROLES[role] - {"transfers"}


@pytest.mark.parametrize("kind", ["scheme", "nothing", "unknown", "revoked", "expired", "disabled"])
def test_credential_that_does_not_count_answers_401(app: Flask, caller: Caller, kind: str) -> None:
    authorization = CREDENTIALS[kind](caller)
    asked = 0
    for request, _ in guarded(app, {}):
        answer = ask(app, request, authorization)
        assert answer.status_code == 401, request
        assert answer.headers["WWW-Authenticate"].startswith("Bearer"), request
        asked += 1
    assert asked > 40


def _revoked(caller: Caller) -> str:
    row, key = caller.identity.create_key(caller.workspace_id, name="Revoked")
    assert caller.delete(f"/api-keys/{row.id}").status_code == 204
    return f"Bearer {key}"


def _expired(caller: Caller) -> str:
    ends = datetime.now(UTC) + timedelta(milliseconds=50)
    _, key = caller.identity.create_key(caller.workspace_id, name="Expired", expires_at=ends)
    time.sleep(0.1)
    return f"Bearer {key}"


def _of_nobody_any_more(caller: Caller) -> str:
    member = caller.with_role("owner")
    caller.with_role("owner")  # there must be one
    assert caller.delete(f"/members/{member.user_id}").status_code == 204
    return f"Bearer {member.key}"


CREDENTIALS: dict[str, Callable[[Caller], str]] = {
    "scheme": lambda caller: f"Basic {caller.key}",
    "nothing": lambda caller: "Bearer ",
    "unknown": lambda caller: f"Bearer {caller.key[:-1]}{'a' if caller.key[-1] != 'a' else 'b'}",
    "revoked": _revoked,
    "expired": _expired,
    "disabled": _of_nobody_any_more,
}


def by_key_of_workspace(caller: Caller) -> Caller:
    return caller


def by_token_of_program(caller: Caller) -> Caller:
    program = Program.registered(caller, grant_types=["client_credentials"])
    return replace(caller, key=program.access_token())


STRANGERS: dict[str, Callable[[Caller], Caller]] = {
    "key of the workspace": by_key_of_workspace,
    "key of an owner": lambda caller: of_role_by_key(caller, "owner"),
    "token of an owner": lambda caller: of_role_by_token(caller, "owner"),
    "token of a program": by_token_of_program,
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_things_of_another_workspace_answer_404(
    app: Flask, caller: Caller, theirs: Things, kind: str
) -> None:
    stranger = STRANGERS[kind](caller)
    seen: set[str] = set()
    for rule in app.url_map.iter_rules():
        if hasattr(app.view_functions[rule.endpoint], "required_scope"):
            seen |= rule.arguments
    assert seen == set(theirs.ids), "a thing that tests/contracts/things.py does not make"
    for asked, _ in guarded(app, theirs.ids):
        if any(identifier in asked.path for identifier in theirs.ids.values()):
            answer = ask(app, asked, f"Bearer {stranger.key}")
            assert answer.status_code == 404, (asked, answer.text)
            assert_strange(answer, theirs)
    assert theirs.owner.get(f"/links/{theirs.ids['link_id']}").status_code == 200


@pytest.mark.parametrize("kind", MEMBERS)
@pytest.mark.parametrize("role", ["editor", "viewer"])
def test_role_does_not_help_in_another_workspace(
    app: Flask, caller: Caller, theirs: Things, role: str, kind: str
) -> None:
    stranger = MEMBERS[kind](caller, role)
    for asked, scope in guarded(app, theirs.ids):
        if any(identifier in asked.path for identifier in theirs.ids.values()):
            answer = ask(app, asked, f"Bearer {stranger.key}")
            assert answer.status_code == (404 if scope in ROLES[role] else 403), asked


def test_no_answer_holds_a_thing_of_another_workspace(
    app: Flask, caller: Caller, mine: Things, theirs: Things
) -> None:
    lists = 0
    for asked, _ in guarded(app, mine.ids):
        if asked.method == "GET" and not asked.path.endswith(("/live", "/events")):
            for query in ("", f"?q={theirs.slug}", f"?domain={theirs.host}", "?limit=200"):
                answer = ask(app, replace(asked, path=asked.path + query), f"Bearer {caller.key}")
                assert_strange(answer, theirs)
                lists += answer.status_code == 200 and b'"data":[{' in answer.data
    assert lists > 10


def assert_strange(answer: TestResponse, theirs: Things) -> None:
    held = {text for text in theirs.identifiers() if text.encode() in content_of(answer)}
    # What was asked for may be named again, as in the sentence that there is no such domain.
    assert held <= {theirs.host} or answer.status_code == 404, (answer.request.path, held)


def content_of(answer: TestResponse) -> bytes:
    """What an answer says, unpacked."""
    if answer.mimetype != "application/zip":
        return answer.data
    with ZipFile(BytesIO(answer.data)) as archive:
        return b"".join(map(archive.read, archive.namelist()))


def test_cursor_of_another_workspace_counts_for_nothing(
    app: Flask, caller: Caller, mine: Things, theirs: Things
) -> None:
    tried = 0
    for asked, _ in guarded(app, {}):
        if asked.method != "GET" or asked.path in (f"{API}/live",) or "/1" in asked.path:
            continue
        first = replace(asked, path=f"{asked.path}?limit=1")
        cursor = (ask(app, first, f"Bearer {theirs.owner.key}").json or {}).get("next_cursor")
        if cursor is not None:
            second = replace(first, path=f"{first.path}&cursor={cursor}")
            assert ask(app, second, f"Bearer {theirs.owner.key}").status_code == 200
            assert ask(app, second, f"Bearer {caller.key}").status_code == 400, asked
            tried += 1
    assert tried >= 7


# Fields and parameters that name a thing which may be somebody else's; what becomes of it there.
NAMING = re.compile(
    r"(?:^|_)(?:id|ids|domain|host|workspace|user|client|link|member|target|actor)$"
)


def names_in_body(app: Flask) -> set[tuple[str, str]]:
    """Operations and the members of their bodies that name a thing."""
    bodies = Bodies(app)
    found = set()
    for asked, _ in guarded(app, {}):
        for name in bodies.fields(asked.endpoint, asked.method):
            if NAMING.search(name):
                found.add((asked.endpoint.rpartition(".")[2], name))
    return found


def names_in_query(app: Flask) -> set[tuple[str, str]]:
    """Operations and the parameters of their queries that name a thing."""
    bodies = Bodies(app)
    return {
        (asked.endpoint.rpartition(".")[2], name)
        for asked, _ in guarded(app, {})
        for name in bodies.parameters(asked.endpoint, asked.method)
        if NAMING.search(name)
    }


def test_fields_that_name_things_are_known_here(app: Flask) -> None:
    assert names_in_body(app) == {("create_link", "domain"), ("claim_domain", "host")}
    assert names_in_query(app) == {
        ("list_links", "domain"),
        ("export_links", "domain"),
        ("export_clicks", "link"),
        ("workspace_stats", "domain"),
        ("orphan_stats", "host"),
        ("list_audit_events", "actor"),
        ("list_audit_events", "target"),
    }


def test_domain_of_another_workspace_is_as_one_that_is_not_there(
    caller: Caller, theirs: Things
) -> None:
    def create(host: str) -> tuple[int, str]:
        answer = caller.post("/links", {"url": "https://example.com/", "domain": host})
        return answer.status_code, without_names(answer, host)

    assert create(theirs.host) == create("nobodys.example")
    assert create(theirs.host)[0] >= 400
    for path in ("/links?domain=", "/stats?domain="):
        known, unknown = caller.get(path + theirs.host), caller.get(path + "nobodys.example")
        assert known.status_code == unknown.status_code
        assert (known.json or {}).get("data", []) == []
    exported = caller.get(f"/exports/links?domain={theirs.host}")
    assert exported.text.startswith('{"end":')
    taken = caller.post("/domains", {"host": theirs.host})
    assert taken.status_code == 409
    assert str(theirs.owner.workspace_id) not in taken.text


def test_clicks_of_a_link_of_another_workspace_are_not_exported(
    caller: Caller, theirs: Things
) -> None:
    answer = caller.get(f"/exports/clicks?link={theirs.ids['link_id']}")
    assert answer.status_code == 404, answer.text


def without_names(answer: TestResponse, *names: str) -> str:
    body = dict(answer.json or {}) | {"instance": ""}
    text = str(body)
    for name in names:
        text = text.replace(name, "<name>")
    return text


def test_operations_of_a_batch_reach_no_other_workspace(caller: Caller, theirs: Things) -> None:
    identifier = theirs.ids["link_id"]
    answer = caller.post(
        "/links/batch",
        {
            "operations": [
                {"op": "update", "id": identifier, "link": {"title": "Mine"}},
                {"op": "delete", "id": identifier},
                {"op": "create", "link": {"url": "https://a.example/", "domain": theirs.host}},
            ]
        },
    )
    assert answer.status_code == 200, answer.text
    statuses = [result["status"] for result in (answer.json or {})["results"]]
    assert statuses[:2] == [404, 404]
    assert statuses[2] >= 400
    link = theirs.owner.get(f"/links/{identifier}")
    assert (link.json or {})["title"] != "Mine"


def test_audit_events_are_those_of_the_workspace(caller: Caller, theirs: Things) -> None:
    for query in (f"target={theirs.ids['link_id']}", f"target=link:{theirs.ids['link_id']}", ""):
        answer = caller.get(f"/audit-events?{query}&limit=200")
        assert not theirs.identifiers() & set(re.findall(r"[\w.-]+", answer.text)) - {
            theirs.ids["link_id"]
        }


# What a client must never set by sending it.
OURS = {
    "id": "1",
    "workspace_id": "1",
    "user_id": "1",
    "owner_id": "1",
    "granted_by": "1",
    "client_id": "x",
    "client_secret": "x",
    "secret_hash": "x",
    "password_hash": "x",
    "key": "x",
    "digest": "x",
    "plan": "unlimited",
    "disabled_at": None,
    "revoked_at": None,
    "verified": True,
    "email_verified": True,
    "is_admin": True,
    "created_at": "2020-01-01T00:00:00Z",
    "clicks": 1_000,
    "slot": 1,
}


def test_fields_that_are_not_for_clients_are_refused(
    app: Flask, caller: Caller, mine: Things
) -> None:
    member = caller.with_role("owner")
    bodies = Bodies(app)
    tried = 0
    for asked, _ in guarded(app, mine.ids | {"user_id": str(member.user_id)}):
        if not isinstance(asked.body, dict):
            continue  # nothing, or rows that are judged one by one
        known = bodies.fields(asked.endpoint, asked.method)
        for name, value in OURS.items():
            if name not in known:
                request = replace(asked, body=asked.body | {name: value})
                answer = ask(app, request, f"Bearer {member.key}")
                assert answer.status_code == 422, (asked, name, answer.text)
                tried += 1
    assert tried > 200
