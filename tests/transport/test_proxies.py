"""Who may say where a visitor comes from, how, and to which host: a forged header changes none."""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

import pytest

from api.clicks.records import ClickRecord, read_segment
from tests.caller import Caller
from tests.redirects.visitor import Visitor
from tests.transport.conftest import PROXY, STRANGER, SiteMaker

ROOT = Path(__file__).resolve().parents[2]
VISITOR = "203.0.113.9"
# Whatever anybody has ever told a visitor's address, scheme or host by.
FORGED = {
    "X-Forwarded-For": "192.0.2.66",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Protocol": "ssl",
    "X-Forwarded-Ssl": "on",
    "X-Forwarded-Scheme": "https",
    "X-Url-Scheme": "https",
    "Front-End-Https": "on",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Server": "evil.example",
    "X-Forwarded-Port": "444",
    "X-Forwarded-Prefix": "/evil",
    "X-Original-Host": "evil.example",
    "X-Host": "evil.example",
    "Forwarded": 'for=192.0.2.66;host=evil.example;proto=https, for="[2001:db8::1]"',
    "X-Real-IP": "192.0.2.66",
    "X-Client-IP": "192.0.2.66",
    "Client-IP": "192.0.2.66",
    "True-Client-IP": "192.0.2.66",
    "CF-Connecting-IP": "192.0.2.66",
    "Fastly-Client-IP": "192.0.2.66",
    "X-Cluster-Client-IP": "192.0.2.66",
    "Via": "1.1 evil.example",
}


@pytest.fixture
def proxied(site: SiteMaker) -> Visitor:
    return site(TRUSTED_PROXIES="10.0.0.0/8")


@pytest.fixture
def last_click(spool_path: Path) -> Any:
    def read(link: dict[str, Any]) -> ClickRecord:
        found = [
            record
            for segment in spool_path.glob("*.*")
            if segment.suffix in (".open", ".ready")
            for record in read_segment(segment.read_bytes()).records
            if record.link_id == int(link["id"])
        ]
        return max(found, key=lambda record: record.at_ms)

    return read


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8", "10.0.0.0/8,192.0.2.66"])
def test_strangers_word_changes_nothing(
    site: SiteMaker, caller: Caller, last_click: Any, trusted: str
) -> None:
    link = caller.create_link("https://example.com/here")
    visitor = site(TRUSTED_PROXIES=trusted)

    answer = visitor.follow(link, headers=FORGED)

    assert (answer.status_code, answer.headers["Location"]) == (302, "https://example.com/here")
    assert last_click(link).address == STRANGER
    assert "Strict-Transport-Security" not in answer.headers
    home = visitor.by_browser().open("/", headers=FORGED)
    assert "evil" not in home.text + str(home.headers)


def test_what_a_proxy_passes_on_of_its_visitor_changes_nothing(
    proxied: Visitor, caller: Caller, last_click: Any
) -> None:
    """A proxy that we trust sets two headers, and knows nothing of all others that it passes on."""
    link = caller.create_link("https://example.com/here")
    by_proxy = {"X-Forwarded-For": f"192.0.2.66, {VISITOR}", "X-Forwarded-Proto": "http"}

    answer = proxied.from_address(PROXY).follow(link, headers=FORGED | by_proxy)

    assert (answer.status_code, answer.headers["Location"]) == (302, "https://example.com/here")
    assert last_click(link).address == VISITOR
    assert "Strict-Transport-Security" not in answer.headers


def test_address_is_what_a_trusted_proxy_says(
    proxied: Visitor, caller: Caller, last_click: Any
) -> None:
    link = caller.create_link()

    proxied.from_address(PROXY).follow(link, headers={"X-Forwarded-For": VISITOR})

    assert last_click(link).address == VISITOR


@pytest.mark.parametrize(
    ("peer", "chain", "address"),
    [
        (STRANGER, "192.0.2.66", STRANGER),
        (PROXY, f"192.0.2.66, {VISITOR}", VISITOR),
        (PROXY, f"192.0.2.66, {VISITOR}, 10.0.0.2", VISITOR),
    ],
)
def test_audit_log_has_the_address_that_counts(
    proxied: Visitor, caller: Caller, peer: str, chain: str, address: str
) -> None:
    headers = FORGED | {"X-Forwarded-For": chain, "Authorization": f"Bearer {caller.key}"}

    made = proxied.from_address(peer).open(
        "/api/v1/links", "POST", headers=headers, json={"url": "https://example.com/"}
    )

    assert made.status_code == 201
    (event,) = (caller.get("/audit-events?action=link.create").json or {})["data"]
    assert event["address"] == address


def test_limits_count_the_address_that_counts(site: SiteMaker) -> None:
    visitor = site(TRUSTED_PROXIES="10.0.0.0/8", MISSES_PER_MINUTE="2")
    # Counts are shared with other tests, and tries of before are remembered: ask from elsewhere.
    last = secrets.randbelow(1 << 16)
    stranger, other = f"2001:db8:1:{last:x}::1", f"2001:db8:2:{last:x}::1"

    def misses(peer: str, number: int, end: str = "") -> int:
        chain = f"192.0.2.{number}{end}"
        headers = FORGED | {"X-Forwarded-For": chain, "X-Real-IP": chain}
        return visitor.from_address(peer).open("/nothing-here", headers=headers).status_code

    assert [misses(stranger, number) for number in range(4)] == [404, 404, 429, 429]
    assert [misses(PROXY, number, f", {other}") for number in range(4)] == [404, 404, 429, 429]


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "Forwarded", "X-Original-Host", "X-Host"])
@pytest.mark.parametrize("peer", [PROXY, STRANGER])
def test_host_is_the_one_that_was_asked_for(
    proxied: Visitor, caller: Caller, header: str, peer: str
) -> None:
    host = f"h{caller.workspace_id}.example"
    caller.post("/domains", {"host": host})
    link = caller.create_link("https://example.com/own", domain=host)
    value = f"host={host}" if header == "Forwarded" else host
    visitor = proxied.from_address(peer)

    assert visitor.follow(link, headers={header: value}).status_code == 404
    forged = {header: value.replace(host, "sign.test")}
    assert visitor.at(host).follow(link, headers=forged).status_code == 302


def test_headers_of_proxies_are_read_in_one_place() -> None:
    """Whoever reads them elsewhere goes round the rule."""
    named = re.compile(r"(?i)x[-_]forwarded|[\"']forwarded[\"']|x[-_]real[-_]ip|access_route")
    places = {
        str(path.relative_to(ROOT))
        for folder in ("api", "config")
        for path in (ROOT / folder).rglob("*.py")
        if any(named.search(line) for line in code_of(path))
    }
    assert places == {
        "api/core/client.py",  # the rule
        "api/core/reports/requests.py",  # what it must not tell
        "api/core/requests.py",
        "api/core/transport.py",
        "api/redirects/fast.py",
        "config/groups/security.py",  # its description
    }


def code_of(path: Path) -> list[str]:
    return [line.partition("#")[0] for line in path.read_text().splitlines()]
