"""Which links a host serves."""

from __future__ import annotations

import uuid

import pytest

from tests.caller import Caller
from tests.redirects.conftest import AppMaker
from tests.redirects.visitor import Visitor


@pytest.fixture
def host(caller: Caller) -> str:
    """A domain that the caller has claimed."""
    name = f"go-{uuid.uuid4().hex[:8]}.example"
    assert caller.post("/domains", {"host": name}).status_code == 201
    return name


def release(caller: Caller, host: str) -> None:
    domains = caller.get("/domains").json["data"]  # type: ignore[index]
    identifier = next(domain["id"] for domain in domains if domain["host"] == host)
    assert caller.delete(f"/domains/{identifier}").status_code == 204


def test_link_answers_only_on_its_own_domain(caller: Caller, visitor: Visitor, host: str) -> None:
    link = caller.create_link(domain=host)

    assert visitor.at(host).follow(link).status_code == 302
    assert visitor.follow(link).status_code == 404


def test_link_of_the_default_domain_does_not_answer_on_a_claimed_one(
    caller: Caller, visitor: Visitor, host: str
) -> None:
    assert visitor.at(host).follow(caller.create_link()).status_code == 404


def test_one_slug_leads_elsewhere_on_another_domain(
    caller: Caller, visitor: Visitor, host: str
) -> None:
    slug = f"same-{uuid.uuid4().hex[:8]}"
    caller.create_link("https://example.com/default", slug=slug)
    caller.create_link("https://example.com/claimed", slug=slug, domain=host)

    assert visitor.open(f"/{slug}").headers["Location"].endswith("/default")
    assert visitor.at(host).open(f"/{slug}").headers["Location"].endswith("/claimed")


@pytest.mark.parametrize("spelling", ["{}:8000", "{}.", "{}.:443"])
def test_host_is_known_with_port_and_trailing_dot(
    caller: Caller, visitor: Visitor, host: str, spelling: str
) -> None:
    link = caller.create_link(domain=host)

    assert visitor.at(spelling.format(host)).follow(link).status_code == 302
    assert visitor.at(spelling.format(host.upper())).follow(link).status_code == 302


def test_international_host_is_known_in_punycode(caller: Caller, visitor: Visitor) -> None:
    name = f"exämple-{uuid.uuid4().hex[:8]}.example"
    caller.post("/domains", {"host": name})
    link = caller.create_link(domain=name)

    assert visitor.at(name.encode("idna").decode()).follow(link).status_code == 302


def test_released_domain_serves_the_default_one(
    caller: Caller, visitor: Visitor, host: str
) -> None:
    link = caller.create_link(domain=host)
    default = caller.create_link()
    assert visitor.at(host).follow(link).status_code == 302

    release(caller, host)

    assert visitor.at(host).follow(link).status_code == 404
    assert visitor.at(host).follow(default).status_code == 302


def test_next_holder_of_a_domain_does_not_serve_the_links_of_the_last(
    caller: Caller, other_caller: Caller, visitor: Visitor, host: str
) -> None:
    link = caller.create_link(domain=host)
    assert visitor.at(host).follow(link).status_code == 302
    release(caller, host)
    assert other_caller.post("/domains", {"host": host}).status_code == 201
    own = other_caller.create_link(domain=host)

    assert visitor.at(host).follow(link).status_code == 404
    assert visitor.at(host).follow(own).status_code == 302


def test_links_answer_again_when_their_domain_is_claimed_again(
    caller: Caller, visitor: Visitor, host: str
) -> None:
    link = caller.create_link(domain=host)
    release(caller, host)
    assert visitor.at(host).follow(link).status_code == 404

    caller.post("/domains", {"host": host})

    assert visitor.at(host).follow(link).status_code == 302


@pytest.mark.parametrize(
    "host", ["unknown.example", "127.0.0.1:8000", "[::1]:8000", "", "a b", "a/b", "é.example"]
)
def test_unknown_host_serves_the_default_domain(
    caller: Caller, visitor: Visitor, host: str
) -> None:
    assert visitor.at(host).follow(caller.create_link()).status_code == 302


def test_strict_hosts_answer_404_for_an_unknown_host(
    caller: Caller, make_app: AppMaker, host: str
) -> None:
    strict = Visitor(make_app(STRICT_HOSTS="true"))
    link, claimed = caller.create_link(), caller.create_link(domain=host)

    assert strict.follow(link).status_code == 302
    assert strict.at(host).follow(claimed).status_code == 302
    assert strict.at("unknown.example").follow(link).status_code == 404
    assert strict.at("").follow(link).status_code == 404
    assert strict.at("unknown.example").open("/health/live").status_code == 200


def test_forwarded_host_of_a_stranger_does_not_count(
    caller: Caller, visitor: Visitor, host: str
) -> None:
    link = caller.create_link(domain=host)

    response = visitor.follow(link, headers={"X-Forwarded-Host": host, "Forwarded": f"host={host}"})

    assert response.status_code == 404


def test_no_answer_repeats_the_host(visitor: Visitor) -> None:
    evil = visitor.at("evil.example")

    for path in ("/", "/nothing", "/docs", "/docs/", "/robots.txt", "/api/v1/openapi.json"):
        response = evil.open(path)
        assert "evil.example" not in response.text
        assert "evil.example" not in str(response.headers)
