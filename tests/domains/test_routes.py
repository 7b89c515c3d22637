"""Domains: claimed by one workspace, used in its links, given up."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.answers import problem, wrong_fields
from tests.caller import BASE, Caller


@pytest.fixture
def host() -> str:
    """A host name that nobody has claimed."""
    return f"{uuid.uuid4().hex[:12]}.example"


def claim(caller: Caller, host: str) -> dict[str, Any]:
    response = caller.post("/domains", {"host": host})
    assert response.status_code == 201, response.text
    return dict(response.json or {})


def test_claimed_domain_reads_back(caller: Caller, host: str) -> None:
    response = caller.post("/domains", {"host": host})
    assert response.status_code == 201
    assert response.json["host"] == host  # type: ignore[index]
    read = caller.get(response.headers["Location"].removeprefix("/api/v1"))
    assert read.json == response.json
    assert caller.get("/domains").json["data"] == [response.json]  # type: ignore[index]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("{}", "{}"),
        ("{}.", "{}"),
        ("GO.{}", "go.{}"),
        ("{}:8080", "{}"),
        ("münchen.{}", "xn--mnchen-3ya.{}"),
        ("XN--MNCHEN-3YA.{}", "xn--mnchen-3ya.{}"),
        ("a_b.{}", "a_b.{}"),
    ],
)
def test_host_has_one_spelling(caller: Caller, host: str, given: str, kept: str) -> None:
    assert claim(caller, given.format(host))["host"] == kept.format(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", ".", "..", "a b", "a..b", ".example", "http://example.com", "example.com/path"),
        *(
            "user@example.com",
            "example.com?x",
            "example.com#x",
            "*",
            "*.example.com",
            "-",
            "-a.com",
        ),
        *(
            "a-.com",
            "xn--",
            "::1",
            "[::1]",
            "[2001:db8::1]",
            "a" * 64 + ".com",
            "a\0.com",
            "a\n.com",
        ),
        *("\u202e.com", "a" * 254, "sign.test", "SIGN.test.", "sign.test:80"),
    ],
)
def test_what_is_no_host_name_or_everybodys_is_refused(caller: Caller, host: str) -> None:
    assert wrong_fields(caller.post("/domains", {"host": host})) == ["/host"]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, "/host"),
        ({"host": None}, "/host"),
        ({"host": 1}, "/host"),
        ({"host": "a.example", "x": 1}, "/x"),
    ],
)
def test_wrong_body_is_named(caller: Caller, body: Any, wrong: str) -> None:
    assert wrong_fields(caller.post("/domains", body)) == [wrong]


def test_domain_has_one_workspace(caller: Caller, other_caller: Caller, host: str) -> None:
    claim(caller, host)
    for who in (caller, other_caller):
        problem(who.post("/domains", {"host": host.upper()}), 409, "domain-taken")


def test_simultaneous_claims_have_one_winner(
    caller: Caller, other_caller: Caller, host: str
) -> None:
    begin = threading.Barrier(4)
    statuses: Counter[int] = Counter()

    def run(who: Caller) -> None:
        begin.wait(5)
        statuses[who.post("/domains", {"host": host}).status_code] += 1

    threads = [threading.Thread(target=run, args=(who,)) for who in (caller, other_caller) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {201: 1, 409: 3}


def test_one_slug_may_be_on_several_domains(caller: Caller, client: FlaskClient, host: str) -> None:
    claim(caller, host)
    slug = uuid.uuid4().hex
    caller.create_link("https://example.com/default", slug=slug)
    link = caller.create_link("https://example.com/own", slug=slug, domain=f"{host.upper()}.")
    assert link["domain"] == host
    assert link["short_url"] == f"http://{host}/{slug}"
    followed = client.get(f"/{slug}", headers={"Host": host})
    assert followed.headers["Location"] == "https://example.com/own"


def test_only_its_workspace_makes_links_on_a_domain(
    caller: Caller, other_caller: Caller, host: str
) -> None:
    body = {"url": "https://example.com/", "domain": host}
    assert wrong_fields(caller.post("/links", body)) == ["/domain"]
    claim(caller, host)
    assert caller.post("/links", body).status_code == 201
    assert wrong_fields(other_caller.post("/links", body)) == ["/domain"]
    for nonsense in ("a b", "[::1]", "nobody.example"):
        assert wrong_fields(caller.post("/links", body | {"domain": nonsense})) == ["/domain"]


def test_claim_through_another_process_counts_at_once(
    caller: Caller, environ: dict[str, str], host: str
) -> None:
    from api.app import create_app
    from config.settings import Settings

    other_process = create_app(Settings.load(environ | {"REDIS_URL": ""}))
    elsewhere = Caller(other_process, caller.identity, caller.workspace_id, caller.key)
    body = {"url": "https://example.com/", "domain": host}
    assert wrong_fields(elsewhere.post("/links", body)) == ["/domain"]
    claim(caller, host)
    assert elsewhere.post("/links", body).status_code == 201
    other_process.extensions["signpost"].db.dispose()


def test_released_domain_can_be_claimed_by_others(
    caller: Caller, other_caller: Caller, client: FlaskClient, host: str
) -> None:
    domain = claim(caller, host)
    link = caller.create_link(domain=host)
    assert caller.delete(f"/domains/{domain['id']}").status_code == 204
    problem(caller.get(f"/domains/{domain['id']}"), 404)
    problem(caller.delete(f"/domains/{domain['id']}"), 404)
    body = {"url": "https://example.com/", "domain": host}
    assert wrong_fields(caller.post("/links", body)) == ["/domain"]
    assert caller.get(f"/links/{link['id']}").status_code == 200
    claim(other_caller, host)
    assert client.get(f"/{link['slug']}", headers={"Host": host}).status_code == 404
    other_caller.create_link(domain=host)


def test_domains_are_listed_page_by_page_newest_first(caller: Caller, host: str) -> None:
    made = [claim(caller, f"{number}.{host}") for number in range(5)]
    met: list[Any] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        answer = caller.get("/domains", query_string=query).json or {}
        met += answer["data"]
        if answer["next_cursor"] is None:
            break
        query["cursor"] = answer["next_cursor"]
    assert met == made[::-1]


def test_wrong_page_is_refused(caller: Caller, other_caller: Caller, host: str) -> None:
    claim(caller, host)
    claim(caller, f"b.{host}")
    assert wrong_fields(caller.get("/domains?limit=0")) == ["limit"]
    cursor = caller.get("/domains?limit=1").json["next_cursor"]  # type: ignore[index]
    problem(other_caller.get(f"/domains?cursor={cursor}"), 400, "invalid-cursor")
    problem(caller.get("/domains?cursor=x"), 400, "invalid-cursor")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_domain_of_another_workspace_answers_404(
    caller: Caller, other_caller: Caller, host: str, method: str
) -> None:
    domain = claim(caller, host)
    problem(other_caller.request(method, f"/domains/{domain['id']}"), 404, "not-found")
    problem(caller.request(method, f"/domains/{2**63}"), 404)
    assert caller.get(f"/domains/{domain['id']}").json == domain


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/domains"), ("GET", "/domains"), ("GET", "/domains/1"), ("DELETE", "/domains/1")],
)
def test_domains_are_for_administrators(
    client: FlaskClient, caller: Caller, method: str, path: str
) -> None:
    refused = client.open(BASE + path, method=method)
    problem(refused, 401)
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    problem(caller.without("workspace:admin").request(method, path), 403, "insufficient-scope")
