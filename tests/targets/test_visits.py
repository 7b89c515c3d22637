"""Links that are there already when a rule comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.engine import make_url

from api.redirects.prepared import PreparedAnswers
from api.targets.known import KnownRules
from api.targets.rules import RuleSet
from tests.answers import problem
from tests.caller import Caller
from tests.redirects.proxy import Relay
from tests.redirects.visitor import Visitor
from tests.redirects.wire.server import WebServer
from tests.targets.conftest import AppMaker, BlockAll, service_of

PROMISED_SECONDS = 3.0
EVIL = "https://www.evil.example/x"


def block(caller: Caller, value: str = "evil.example", **fields: Any) -> str:
    kind = "pattern" if "*" in value else "host"
    made = caller.post("/blocked-targets", {"kind": kind, "value": value, **fields})
    assert made.status_code == 201, made.text
    return str((made.json or {})["id"])


def unblock(caller: Caller, rule: str) -> None:
    assert caller.delete(f"/blocked-targets/{rule}").status_code == 204


def is_prepared(app: Flask, link: dict[str, Any]) -> bool:
    return f"sign.test/{link['slug']}".encode() in service_of(app, PreparedAnswers).known


def test_program_gets_a_problem_that_says_why(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(EVIL)
    block(caller, reason="Court order 4711")
    answer = visitor.follow(link)
    body = problem(answer, 451, "link-blocked")
    assert body["detail"] == "Court order 4711"
    assert answer.headers["Link"] == '<http://sign.test/>; rel="blocked-by"'
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert "Location" not in answer.headers
    assert "evil" not in answer.text


def test_person_gets_a_page_that_says_why(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(EVIL)
    block(caller, reason="<b>Phishing</b>")
    answer = visitor.by_browser().follow(link)
    assert answer.status_code == 451
    assert answer.content_type.startswith("text/html")
    assert "This link is blocked" in answer.text
    assert "&lt;b&gt;Phishing&lt;/b&gt;" in answer.text
    assert "evil" not in answer.text
    assert "Content-Security-Policy" in answer.headers


def test_link_is_gone_where_the_rule_says_so(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(EVIL)
    block(caller, "*evil*/x*", status=410)
    problem(visitor.follow(link), 410, "link-withdrawn")
    page = visitor.by_browser().follow(link)
    assert page.status_code == 410
    assert "no longer available" in page.text


def test_link_that_was_followed_before_is_stopped_at_once_and_goes_on_afterwards(
    app: Flask, caller: Caller, visitor: Visitor
) -> None:
    link = caller.create_link(EVIL)
    other = caller.create_link("https://good.example/")
    for each in (link, other):
        assert visitor.follow(each).status_code == 302
        assert is_prepared(app, each)
    rule = block(caller)
    assert not is_prepared(app, link)
    assert is_prepared(app, other)
    assert visitor.follow(link).status_code == 451
    assert not is_prepared(app, link)
    unblock(caller, rule)
    assert visitor.follow(link).headers["Location"] == EVIL
    assert is_prepared(app, link)


def test_no_rule_is_looked_at_when_a_known_link_is_visited(
    caller: Caller, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, blocked = caller.create_link("https://good.example/"), caller.create_link(EVIL)
    block(caller)
    asked: list[str] = []
    judge = RuleSet.block_of

    def note(rules: RuleSet, workspace: int, url: str) -> Any:
        asked.append(url)
        return judge(rules, workspace, url)

    monkeypatch.setattr(RuleSet, "block_of", note)
    for _ in range(3):
        assert visitor.follow(free).status_code == 302
        assert visitor.follow(blocked).status_code == 451
    assert sorted(asked) == sorted(["https://good.example/", EVIL])  # when they were loaded


def test_no_click_is_counted_and_no_use_taken(
    caller: Caller,
    visitor: Visitor,
    clicks_of: Callable[[dict[str, Any]], list[Any]],
) -> None:
    link = caller.create_link(EVIL, max_clicks=1)
    rule = block(caller)
    for _ in range(3):
        assert visitor.follow(link).status_code == 451
        assert visitor.follow(link, method="HEAD").status_code == 451
    assert clicks_of(link) == []
    unblock(caller, rule)
    assert visitor.follow(link).status_code == 302
    assert len(clicks_of(link)) == 1


def test_password_is_not_asked_for(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(EVIL, password="correct horse")
    block(caller)
    assert visitor.follow(link).status_code == 451
    assert visitor.unlock(link, "correct horse").status_code == 451


def test_what_is_not_there_for_another_reason_says_that(caller: Caller, visitor: Visitor) -> None:
    disabled = caller.create_link(EVIL, state="disabled")
    deleted = caller.create_link(EVIL)
    assert caller.delete(f"/links/{deleted['id']}").status_code == 204
    block(caller)
    problem(visitor.follow(disabled), 404, "link-unknown")
    problem(visitor.follow(deleted), 410, "link-gone")


def test_rule_of_a_workspace_stops_no_other_workspaces_links(
    caller: Caller, other_caller: Caller, visitor: Visitor
) -> None:
    ours, theirs = caller.create_link(EVIL), other_caller.create_link(EVIL)
    block(caller)
    assert visitor.follow(ours).status_code == 451
    assert visitor.follow(theirs).status_code == 302


def test_one_of_two_rules_is_enough(
    caller: Caller, visitor: Visitor, block_everywhere: BlockAll
) -> None:
    link = caller.create_link(EVIL)
    rule = block(caller, status=410)
    assert visitor.follow(link).status_code == 410
    block_everywhere("www.evil.example")
    assert visitor.follow(link).status_code in (451, 410)
    unblock(caller, rule)
    assert visitor.follow(link).status_code == 451


def test_changed_target_is_judged_anew(caller: Caller, visitor: Visitor) -> None:
    link = caller.create_link(EVIL)
    block(caller)
    assert visitor.follow(link).status_code == 451
    assert caller.patch(f"/links/{link['id']}", {"url": "https://good.example/"}).status_code == 200
    assert visitor.follow(link).headers["Location"] == "https://good.example/"


def eventually(visitor: Visitor, link: dict[str, Any], status: int) -> float:
    """How long it takes until a link answers so."""
    started = time.monotonic()
    while visitor.follow(link).status_code != status:
        assert time.monotonic() - started < PROMISED_SECONDS, f"not {status} in time"
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.parametrize("redis", ["shared", "none"])
def test_other_process_hears_within_seconds(
    redis: str, app: Flask, caller: Caller, make_app: AppMaker
) -> None:
    other = make_app(**({"REDIS_URL": ""} if redis == "none" else {}))
    there = Visitor(other)
    link = caller.create_link(EVIL)
    assert there.follow(link).status_code == 302
    rule = block(caller)
    eventually(there, link, 451)
    assert not is_prepared(other, link)
    unblock(caller, rule)
    eventually(there, link, 302)


def test_process_that_starts_later_knows_the_rules_from_its_first_visit(
    caller: Caller, make_app: AppMaker
) -> None:
    link = caller.create_link(EVIL)
    block(caller)
    assert Visitor(make_app(REDIS_URL="")).follow(link).status_code == 451
    assert Visitor(make_app(REDIRECT_SHARED_SECONDS="0")).follow(link).status_code == 451


def test_rules_that_were_restored_from_a_backup_are_read_anew(
    app: Flask, caller: Caller, visitor: Visitor
) -> None:
    link = caller.create_link(EVIL)
    block(caller)
    assert visitor.follow(link).status_code == 451
    known = service_of(app, KnownRules)
    runtime = app.extensions["signpost"]
    with runtime.db.write_directory() as session:
        session.connection().exec_driver_sql("DELETE FROM target_rules")
        session.connection().exec_driver_sql("DELETE FROM target_rule_changes")
    known.look()
    assert visitor.follow(link).status_code == 302
    block(caller, "www.evil.example")
    assert visitor.follow(link).status_code == 451


def test_rules_go_on_while_the_database_is_away(
    environ: dict[str, str], caller: Caller, make_app: AppMaker
) -> None:
    url = make_url(environ["DATABASE_URL"])
    with Relay(url.host or "127.0.0.1", url.port or 5432) as relay:
        far = url.set(host="127.0.0.1", port=relay.port).render_as_string(hide_password=False)
        visitor = Visitor(
            make_app(
                DATABASE_URL=far,
                REDIRECT_CACHE_SECONDS="0.2",
                DB_CONNECT_TIMEOUT_SECONDS="2",
                DB_POOL_TIMEOUT_SECONDS="0.3",
            )
        )
        blocked, free = caller.create_link(EVIL), caller.create_link("https://good.example/")
        block(caller)
        eventually(visitor, blocked, 451)
        assert visitor.follow(free).status_code == 302
        relay.cut()
        time.sleep(2.5)  # past the life of entries, and a look that fails
        assert visitor.follow(blocked).status_code == 451
        assert visitor.follow(free).status_code == 302
        relay.restore()
        eventually(visitor, blocked, 451)


@pytest.fixture(scope="module")
def servers(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[WebServer]]:
    """Two web servers that answer as fast as they can; the second hears of nothing."""
    folder: Path = tmp_path_factory.mktemp("processes")
    settings = {name: value for name, value in environ.items() if name != "SIGNPOST_HOME"}
    made = [
        WebServer(folder / "one", settings, fast=True),
        WebServer(folder / "two", settings | {"REDIS_URL": ""}, fast=True),
    ]
    for server in made:
        server.start()
    try:
        for server in made:
            server.wait_ready()
        yield made
    finally:
        for server in made:
            server.stop()


def ask(server: WebServer, link: dict[str, Any]) -> int:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", f"/{link['slug']}", headers={"Host": "sign.test"})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_links_on_the_fast_path_stop_within_seconds_and_lose_no_click(
    servers: list[WebServer], caller: Caller
) -> None:
    link = caller.create_link(EVIL)
    followed = [0, 0]
    for number, server in enumerate(servers):
        for _ in range(3):
            assert ask(server, link) == 302
            followed[number] += 1
    block(caller)
    since = time.monotonic()
    for number, server in enumerate(servers):
        while (status := ask(server, link)) == 302:
            followed[number] += 1
            assert time.monotonic() - since < PROMISED_SECONDS
        assert status == 451
        assert ask(server, link) == 451
    for number, server in enumerate(servers):
        server.stop()
        clicks = [click for click in server.spool.read() if click.link_id == int(link["id"])]
        assert len(clicks) == followed[number]
