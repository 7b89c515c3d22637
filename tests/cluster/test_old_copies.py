"""No process believes a copy of which a server of the cluster has lost the eviction."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from api.core.copies import PREFIX
from api.core.database import positions
from api.core.database.positions import Positions
from api.core.epoch_names import EpochNames, hash_tags
from api.core.evictions import CHANNEL
from tests.caller import Caller
from tests.cluster.conftest import AppMaker, seconds_until
from tests.redirects.visitor import Visitor
from tests.services.cluster import PrivateCluster

NAMES = EpochNames(PREFIX, hash_tags())
PLACES = EpochNames("signpost:positions:v1:", hash_tags())
# How soon a process looks which servers there are.
LOOK_SECONDS = 1.0


@pytest.fixture
def link(guarded: PrivateCluster, owner: Caller) -> dict[str, Any]:
    """A link with its copy on another node than the channel of evictions."""
    channel_at = guarded.primary_of(CHANNEL)
    while True:
        slug = f"old-{uuid.uuid4().hex[:12]}"
        if guarded.primary_of(name_of(slug)) != channel_at:
            return owner.create_link("https://example.com/old", slug=slug)


@pytest.fixture
def owner(guarded: PrivateCluster, make_app: AppMaker, caller: Caller) -> Caller:
    return Caller(make_app(REDIS_URL=guarded.url), caller.identity, caller.workspace_id, caller.key)


@pytest.fixture
def healed(guarded: PrivateCluster) -> Iterator[PrivateCluster]:
    """The cluster, which is whole again afterwards."""
    yield guarded
    for port in set(guarded.ports) - set(guarded.running):
        guarded.restart(port)
    guarded.wait_whole()


def name_of(slug: str) -> str:
    return NAMES.of(f"link:sign.test/{slug}")[0]


def share(cluster: PrivateCluster, link: dict[str, Any], visitor: Visitor) -> bytes:
    """Have a process put a copy there; its bytes."""
    name = name_of(link["slug"])
    cluster.client.delete(name)  # what told that it had just been made
    assert visitor.follow(link).headers["Location"] == "https://example.com/old"
    held: bytes = cluster.client.get(name)
    assert b"https://example.com/old" in held
    return held


def test_failover_that_lost_an_eviction(
    healed: PrivateCluster, make_app: AppMaker, owner: Caller, link: dict[str, Any]
) -> None:
    cluster, name = healed, name_of(link["slug"])
    # Two that listen, and have not looked for the link yet.
    first, second = (Visitor(make_app(REDIS_URL=cluster.url)) for _ in range(2))
    primary = cluster.primary_of(name)
    replica = cluster.replica_of(primary)
    copy = share(cluster, link, Visitor(make_app(REDIS_URL=cluster.url)))
    seconds_until(lambda: cluster.node(replica).dbsize() == cluster.node(primary).dbsize())

    # The eviction reaches the primary, which dies before its replica has heard of it.
    cluster.send(replica, signal.SIGSTOP)
    cluster.node(primary).client_kill_filter(_type="replica")
    assert (
        owner.patch(f"/links/{link['id']}", {"url": "https://example.com/new"}).status_code == 200
    )
    assert cluster.node(primary).get(name) == b"-"
    cluster.kill(primary)
    cluster.send(replica, signal.SIGCONT)
    seconds_until(lambda: cluster.client.get_node_from_key(name).port == replica)
    assert cluster.client.get(name) == copy

    time.sleep(LOOK_SECONDS + 0.5)
    for visitor in (first, second):
        assert visitor.follow(link).headers["Location"] == "https://example.com/new"


@pytest.mark.slow
def test_node_that_was_emptied_is_filled_again(
    healed: PrivateCluster, make_app: AppMaker, link: dict[str, Any]
) -> None:
    visitor = Visitor(make_app(REDIS_URL=healed.url))
    share(healed, link, visitor)
    name = name_of(link["slug"])
    node = healed.node(healed.client.get_node_from_key(name).port)
    node.flushall()

    for _ in range(2):
        another = Visitor(make_app(REDIS_URL=healed.url))
        assert another.follow(link).headers["Location"] == "https://example.com/old"
    assert b"https://example.com/old" in (node.get(name) or b"")  # type: ignore[operator]


def test_eviction_of_what_a_dead_node_holds_is_sent_when_it_is_back(
    healed: PrivateCluster, make_app: AppMaker, owner: Caller, link: dict[str, Any]
) -> None:
    name = name_of(link["slug"])
    reader = Visitor(make_app(REDIS_URL=healed.url))
    share(healed, link, reader)
    primary = int(healed.client.get_node_from_key(name).port)
    # Nobody can take over: it stops and goes on, as behind a broken way.
    healed.send(primary, signal.SIGSTOP)
    try:
        changed = owner.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})
        assert changed.status_code == 200
        # Others are told at once all the same.
        seconds_until(lambda: reader.follow(link).headers["Location"].endswith("/new"), 3)
    finally:
        healed.send(primary, signal.SIGCONT)
    seconds_until(lambda: b"/old" not in (healed.client.get(name) or b""), 5)
    fresh = Visitor(make_app(REDIS_URL=healed.url))
    assert fresh.follow(link).headers["Location"] == "https://example.com/new"


@pytest.mark.slow
def test_link_whose_slot_is_on_its_way_redirects_and_can_be_changed(
    healed: PrivateCluster, make_app: AppMaker, owner: Caller, link: dict[str, Any]
) -> None:
    cluster, name = healed, name_of(link["slug"])
    reader = Visitor(make_app(REDIS_URL=cluster.url))
    share(cluster, link, reader)
    source = int(cluster.client.get_node_from_key(name).port)
    target = next(node.port for node in cluster.client.get_primaries() if node.port != source)
    with cluster.moving(name, source, target) as move:
        # Half of what belongs together has gone.
        move(NAMES.of(f"link:sign.test/{link['slug']}")[1])
        for visitor in (reader, Visitor(make_app(REDIS_URL=cluster.url))):
            started = time.monotonic()
            assert visitor.follow(link).headers["Location"] == "https://example.com/old"
            assert time.monotonic() - started < 1
        changed = owner.patch(f"/links/{link['id']}", {"url": "https://example.com/new"})
        assert changed.status_code == 200
        seconds_until(lambda: reader.follow(link).headers["Location"].endswith("/new"), 3)
    fresh = Visitor(make_app(REDIS_URL=cluster.url))
    seconds_until(lambda: b"/old" not in (cluster.client.get(name) or b""), 5)
    assert fresh.follow(link).headers["Location"] == "https://example.com/new"


@pytest.mark.slow
def test_positions_that_a_failover_may_have_lost_are_not_believed(
    healed: PrivateCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "KEPT_SECONDS", 2.0)
    writer, reader = (Positions(healed.url, 0.5) for _ in range(2))
    subject = f"main:{uuid.uuid4().hex}"
    # At first nobody knows what was written before.
    assert reader.find(subject) is None
    writer.note(subject, 77)
    seconds_until(lambda: reader.find(subject) == 77 or writer.note(subject, 77) is not None)

    name = PLACES.of(subject)[0]
    port = int(healed.client.get_node_from_key(name).port)
    healed.kill(port)
    assert reader.find(subject) is None
    seconds_until(lambda: healed.client.get_node_from_key(name).port != port)
    time.sleep(1.1)  # till it is asked again
    assert reader.find(subject) is None
    writer.note(subject, 78)
    seconds_until(lambda: reader.find(subject) == 78 or writer.note(subject, 78) is not None, 6)
