"""The whole application on a Redis Cluster: two web servers, three nodes, of which one dies."""

from __future__ import annotations

import json
import time
import uuid
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from api.core.cache import EVERYTHING, AnswerCache
from api.core.copies import PREFIX
from api.core.epoch_names import EpochNames, hash_tags
from api.core.evictions import CHANNEL
from api.identity.service import IdentityService
from api.live.messages import CHANNELS
from api.live.publisher import LivePublisher
from tests.caller import Caller
from tests.cluster.conftest import follow, seconds_until
from tests.live.reader import LiveReader
from tests.redirects.wire.server import WebServer
from tests.redis_keys import check_keys, documented
from tests.services.cluster import PrivateCluster
from tests.stats.samples import make_click

# What is promised of a change, with room for a machine that is busy.
SOON = 0.5


@pytest.fixture
def key(caller: Caller) -> str:
    return caller.key


def slugs_of_nodes(cluster: PrivateCluster, number: int) -> list[str]:
    """New slugs, so many for each node that will hold copies of their links."""
    names, found = EpochNames(PREFIX, hash_tags()), dict[int, list[str]]()
    while [len(found.get(port, [])) for port in cluster.ports] != [number] * 3:
        slug = f"of-{uuid.uuid4().hex[:12]}"
        slugs = found.setdefault(cluster.primary_of(names.of(f"link:sign.test/{slug}")[0]), [])
        if len(slugs) < number:
            slugs.append(slug)
    return [slug for slugs in found.values() for slug in slugs]


def create(server: WebServer, key: str, **fields: Any) -> dict[str, Any]:
    status, link = server.call(key, "POST", "/links", {"url": "https://example.com/0"} | fields)
    assert status == 201, link
    return link


def change(server: WebServer, key: str, link: dict[str, Any], url: str) -> None:
    status, _ = server.call(key, "PATCH", f"/links/{link['id']}", {"url": url})
    assert status == 200


def readiness(server: WebServer) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    headers = {"Authorization": "Bearer a token of the tests only"}
    connection.request("GET", "/health/ready", headers=headers)
    response = connection.getresponse()
    report = {"code": response.status} | json.loads(response.read())
    connection.close()
    return report


def is_ready(server: WebServer) -> bool:
    return readiness(server)["status"] == "ready"


def test_changes_reach_the_other_process_at_once(
    servers: list[WebServer], cluster: PrivateCluster, key: str
) -> None:
    for number, slug in enumerate(slugs_of_nodes(cluster, 2)):
        link = create(servers[number % 2], key, slug=slug)
        for server in servers * 2:
            assert follow(server, slug) == (302, "https://example.com/0")
        change(servers[number % 2], key, link, "https://example.com/1")
        for server in servers:
            seconds_until(lambda: follow(server, slug) == (302, "https://example.com/1"), SOON)  # noqa: B023

    held = [len(cluster.node(port).keys("signpost:copies:*link:*")) for port in cluster.ports]
    assert all(number >= 2 for number in held), held


def test_what_was_looked_for_in_vain_is_found_once_it_is_made(
    servers: list[WebServer], key: str, caller: Caller
) -> None:
    slug = f"vain-{caller.workspace_id}"
    assert [follow(server, slug)[0] for server in servers] == [404, 404]
    create(servers[0], key, slug=slug)
    for server in servers:
        seconds_until(lambda: follow(server, slug)[0] == 302, SOON)  # noqa: B023


def test_limits_are_counted_over_both_processes(
    servers: list[WebServer], key: str, caller: Caller, identity: IdentityService
) -> None:
    if (left := 60 - time.time() % 60) < 5:
        time.sleep(left + 0.1)
    identity.set_plan(caller.workspace_id, "five")
    answers = [servers[number % 2].call(key, "GET", "/links")[0] for number in range(7)]
    assert answers == [200] * 5 + [429] * 2


def test_tries_are_counted_over_both_processes(servers: list[WebServer], key: str) -> None:
    link = create(servers[0], key, password="open sesame")

    def guess(server: WebServer) -> int:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
        headers = {"Host": "sign.test", "Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode({"password": "wrong"})
        connection.request("POST", f"/{link['slug']}", body, headers)
        status = connection.getresponse().status
        connection.close()
        return status

    answers = [guess(servers[number % 2]) for number in range(5)]
    assert answers.count(429) == 2, answers
    assert answers[3:] == [429, 429]


def test_clicks_are_told_as_they_come(
    servers: list[WebServer], cluster: PrivateCluster, caller: Caller
) -> None:
    link = create(servers[0], caller.key)
    publisher = LivePublisher(cluster.url)
    with (
        LiveReader(servers[0].port, caller.key, f"/links/{link['id']}/live") as one,
        LiveReader(servers[1].port, caller.key, "/live") as everything,
    ):
        click = make_click(link_id=int(link["id"]), workspace_id=caller.workspace_id)
        publisher.publish([click])
        assert one.wait_for("click")[0].data["link_id"] == link["id"]
        assert everything.wait_for("click")[0].data["link_id"] == link["id"]


def test_statistics_are_kept_for_both_and_evicted_for_both(
    servers: list[WebServer], cluster: PrivateCluster, caller: Caller
) -> None:
    for server in servers:
        assert server.call(caller.key, "GET", "/stats?from=2026-04-01&to=2026-04-02")[0] == 200
    kept = f"signpost:answers:v1:*{caller.workspace_id}:*"
    names = [name for port in cluster.ports for name in cluster.node(port).keys(kept)]
    assert len([name for name in names if b"generation:" not in name]) == 1, names

    near, far = (AnswerCache(Flask("x"), cluster.url, 0.5, local_entries=8) for _ in range(2))
    for group in (uuid.uuid4().hex, uuid.uuid4().hex):
        assert near.answer(group, "question", 60, lambda: b"[1]").body == b"[1]"
        assert far.answer(group, "question", 60, lambda: b"[2]").body == b"[1]"
        assert near.evict(group)
        assert far.answer(group, "question", 60, lambda: b"[3]").body == b"[3]"
        assert far.evict(EVERYTHING)
        assert near.answer(group, "question", 60, lambda: b"[4]").body == b"[4]"


@pytest.mark.parametrize(
    "key_of_node",
    [
        CHANNEL,
        pytest.param(CHANNELS, marks=pytest.mark.slow),
        pytest.param("another", marks=pytest.mark.slow),
    ],
)
def test_death_of_a_node_is_survived_and_its_return_is_noticed(
    servers: list[WebServer], cluster: PrivateCluster, caller: Caller, key_of_node: str
) -> None:
    key = caller.key
    known = [create(servers[0], key, slug=slug) for slug in slugs_of_nodes(cluster, 2)]
    unknown = [create(servers[0], key, slug=slug) for slug in slugs_of_nodes(cluster, 2)]
    for link in known:
        assert [follow(server, link["slug"])[0] for server in servers] == [302, 302]
    owners = {cluster.primary_of(name) for name in (CHANNEL, CHANNELS)}
    others = [port for port in cluster.ports if port not in owners]
    port = others[0] if key_of_node == "another" else cluster.primary_of(key_of_node)
    with LiveReader(servers[0].port, key, "/live") as reader:
        cluster.kill(port)
        try:
            go_on_without_a_node(servers, key, known, unknown, port)
            # Whoever changed something then is dead; nobody has evicted what this node holds.
        finally:
            cluster.restart(port)
            cluster.wait_whole()
        be_whole_again(servers, cluster, caller, [*known, *unknown], reader)


def go_on_without_a_node(
    servers: list[WebServer],
    key: str,
    known: list[dict[str, Any]],
    unknown: list[dict[str, Any]],
    port: int,
) -> None:
    for link in [*known, *unknown]:
        for server in servers:
            started = time.monotonic()
            assert follow(server, link["slug"]) == (302, "https://example.com/0")
            assert time.monotonic() - started < 1
    made = create(servers[1], key)
    for server in servers:
        assert follow(server, made["slug"])[0] == 302
        for path in ("/links", "/stats?from=2026-04-01&to=2026-04-02"):
            assert server.call(key, "GET", path)[0] == 200
        seconds_until(lambda: readiness(server)["status"] == "degraded", 5)  # noqa: B023
        report = readiness(server)
        assert (report["code"], report["status"]) == (200, "degraded")
        assert report["checks"]["redis"]["nodes"] == [f"127.0.0.1:{port}"]
        members = report["checks"]["redis"]["members"]
        assert [name for name, it in members.items() if it["status"] == "down"] == [
            f"127.0.0.1:{port}"
        ]
    # It is seen by others when they learn of it, or by the life of what they hold.
    for number, link in enumerate(known):
        change(servers[number % 2], key, link, "https://example.com/1")
    for link in known:
        for server in servers:
            seconds_until(lambda: follow(server, link["slug"])[1].endswith("/1"), 3)  # noqa: B023


def be_whole_again(
    servers: list[WebServer],
    cluster: PrivateCluster,
    caller: Caller,
    links: list[dict[str, Any]],
    reader: LiveReader,
) -> None:
    for server in servers:
        seconds_until(lambda: is_ready(server), 5)  # noqa: B023
    # A listener tries again every second, and a breaker too.
    time.sleep(2.2)
    for number, link in enumerate(links):
        change(servers[number % 2], caller.key, link, "https://example.com/2")
    for link in links:
        for server in servers:
            seconds_until(lambda: follow(server, link["slug"])[1].endswith("/2"), SOON)  # noqa: B023
    publisher = LivePublisher(cluster.url)
    link_id = int(links[0]["id"])
    publisher.publish([make_click(link_id=link_id, workspace_id=caller.workspace_id)])
    reader.wait_for("click", seconds=5)
    assert not any(server.errors for server in servers)


def test_every_key_is_documented_and_has_a_life(
    servers: list[WebServer], cluster: PrivateCluster, key: str
) -> None:
    slugs = slugs_of_nodes(cluster, 1)
    for link in [create(servers[0], key, slug=slug) for slug in slugs]:
        assert follow(servers[1], link["slug"])[0] == 302
    rows = documented("cluster")
    found = {pattern for port in cluster.ports for pattern in check_keys(cluster.node(port), rows)}
    assert "signpost:copies:v1:{<group>}:<key>" in found
    assert "signpost:copies:v1:{<group>}:epoch" in found
