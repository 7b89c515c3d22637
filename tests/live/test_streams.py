"""Live clicks through a real web server and Redis; clicks are published as the consumer does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.live.publisher import LivePublisher
from tests.caller import Caller
from tests.live.conftest import Web, WebMaker
from tests.live.reader import LiveReader, moment
from tests.redirects.proxy import Relay
from tests.running import wait_until
from tests.stats.samples import make_click


@pytest.fixture
def publisher(redis_url: str) -> LivePublisher:
    return LivePublisher(redis_url)


@pytest.fixture
def relay(redis_url: str) -> Iterator[Relay]:
    """A way to Redis that can be cut."""
    url = urlsplit(redis_url)
    with Relay(url.hostname or "127.0.0.1", url.port or 6379) as relay:
        yield relay


def clicks_of(caller: Caller, link: dict[str, str], number: int = 1, **known: object) -> list:
    fixed = {"link_id": int(link["id"]), "workspace_id": caller.workspace_id} | known
    return [
        make_click(
            **{"clicked_at": datetime(2026, 5, 6, tzinfo=UTC) + timedelta(seconds=n)} | fixed
        )
        for n in range(number)
    ]


def watch(web: Web, caller: Caller, path: str, **options: object) -> LiveReader:
    return LiveReader(web.port, caller.key, path, **options)


def test_click_is_told_with_all_that_may_be_known(
    web: Web, caller: Caller, publisher: LivePublisher
) -> None:
    link = caller.create_link()
    known = {"country": "DE", "browser": "Firefox", "utm_source": "mail", "address": "8.8.8.0"}
    with (
        watch(web, caller, f"/links/{link['id']}/live") as one,
        watch(web, caller, "/live") as everything,
    ):
        assert (one.status, one.headers["Content-Type"]) == (200, "text/event-stream")
        assert one.headers["Cache-Control"] == "no-store"
        assert one.headers["X-Accel-Buffering"] == "no"
        assert one.headers["X-Request-ID"]
        publisher.publish(clicks_of(caller, link, **known))
        for reader in (one, everything):
            (event,) = reader.wait_for("click")
            assert event.data == {
                "link_id": link["id"],
                "clicked_at": "2026-05-06T00:00:00Z",
                "bot": False,
                "country": "DE",
                "referrer": None,
                "browser": "Firefox",
                "system": None,
                "device": None,
                "language": None,
                "utm_source": "mail",
                "utm_medium": None,
                "utm_campaign": None,
                "utm_term": None,
                "utm_content": None,
            }
            assert event.identifier


def test_nobody_is_told_of_other_clicks(
    web: Web, caller: Caller, other_caller: Caller, publisher: LivePublisher
) -> None:
    link, sibling = caller.create_link(), caller.create_link()
    theirs = other_caller.create_link()
    with (
        watch(web, caller, f"/links/{link['id']}/live") as one,
        watch(web, caller, "/live") as everything,
        watch(web, other_caller, "/live") as foreign,
    ):
        publisher.publish(clicks_of(caller, sibling) + clicks_of(other_caller, theirs))
        publisher.publish(clicks_of(caller, link))
        assert [event.data["link_id"] for event in one.wait_for("click")] == [link["id"]]
        told = [event.data["link_id"] for event in everything.wait_for("click", 2)]
        assert told == [sibling["id"], link["id"]]
        assert [event.data["link_id"] for event in foreign.wait_for("click")] == [theirs["id"]]
        time.sleep(0.3)
        assert len(one.named("click")) == len(foreign.named("click")) == 1


def test_many_clicks_at_once_are_the_newest_and_a_number(
    web: Web, caller: Caller, publisher: LivePublisher
) -> None:
    link = caller.create_link()
    with watch(web, caller, f"/links/{link['id']}/live") as reader:
        publisher.publish(clicks_of(caller, link, 250))
        told = reader.wait_for("click", 100)
        assert [event.data for event in reader.named("skipped")] == [{"count": 150}]
        assert told[-1].data["clicked_at"] == "2026-05-06T00:04:09Z"
        times = [event.data["clicked_at"] for event in told]
        assert times == sorted(times)
        identifiers = [int((event.identifier or "").split("-")[1]) for event in told]
        assert identifiers == sorted(set(identifiers))


def test_slow_reader_loses_the_oldest_and_is_told_how_many(
    web: Web, caller: Caller, publisher: LivePublisher
) -> None:
    link = caller.create_link()
    long = {"referrer": "r" * 250, "utm_campaign": "c" * 250, "utm_term": "t" * 250}
    sent = 0
    with (
        watch(web, caller, f"/links/{link['id']}/live", reads=False) as slow,
        watch(web, caller, f"/links/{link['id']}/live") as quick,
    ):
        # More than the kernel's buffers on the way take.
        for _ in range(80):
            publisher.publish(clicks_of(caller, link, 100, **long))
            sent += 100
            quick.wait_for("click", sent)
        assert not quick.named("skipped")
        slow.read()
        wait_until(lambda: told_of(slow) == sent, 20)
        assert slow.named("skipped")
        # What came last is there.
        publisher.publish(clicks_of(caller, link, country="DE"))
        wait_until(lambda: slow.events[-1].data.get("country") == "DE", 20)


def told_of(reader: LiveReader) -> int:
    skipped = sum(event.data["count"] for event in reader.named("skipped"))
    return len(reader.named("click")) + skipped


def test_silence_is_broken_by_comments(web: Web, caller: Caller) -> None:
    with watch(web, caller, "/live") as reader:
        started = time.monotonic()
        reader.wait_for("comment", 3)
        assert 1.5 < time.monotonic() - started < 6
        assert {event.name for event in reader.events} == {"comment"}


def test_returning_watcher_is_told_what_it_missed(
    web: Web, caller: Caller, publisher: LivePublisher
) -> None:
    link = caller.create_link()
    path = f"/links/{link['id']}/live"
    with watch(web, caller, path) as reader:
        publisher.publish(clicks_of(caller, link))
        (last,) = reader.wait_for("click")
    before = datetime.now(UTC)
    publisher.publish(clicks_of(caller, link))
    with watch(web, caller, path, Last_Event_ID=str(last.identifier)) as reader:
        (told,) = reader.wait_for("gap")
        assert reader.events[0] is told
        assert (told.data["reason"], told.identifier) == ("returned", None)
        assert abs(moment(told.data["since"]) - before) < timedelta(seconds=10)
        assert moment(told.data["since"]) < before < moment(told.data["until"])
        listed = caller.get(told.data["clicks"].removeprefix("/api/v1"))
        assert listed.status_code == 200
        time.sleep(0.3)
        assert not reader.named("click")


@pytest.mark.parametrize("unknown", ["17", "9999999999999-1", "x" * 200, "1-1"])
def test_unknown_last_event_is_a_gap_of_unknown_begin(
    web: Web, caller: Caller, unknown: str
) -> None:
    with watch(web, caller, "/live", Last_Event_ID=unknown) as reader:
        (told,) = reader.wait_for("gap")
        assert told.data["since"] is None
        assert told.data["clicks"] == "/api/v1/links/{id}/clicks"


def test_watcher_is_told_when_redis_goes_and_comes(
    make_web: WebMaker, caller: Caller, relay: Relay, publisher: LivePublisher
) -> None:
    web = make_web(REDIS_URL=f"redis://127.0.0.1:{relay.port}/0")
    link = caller.create_link()
    with watch(web, caller, f"/links/{link['id']}/live") as reader:
        relay.cut()
        (lost,) = reader.wait_for("gap")
        assert (lost.data["reason"], lost.data["until"]) == ("lost", None)
        assert "Redis" in refused(web, caller, 503)["detail"]

        relay.restore()
        _, resumed = reader.wait_for("gap", 2)
        assert resumed.data["reason"] == "resumed"
        assert resumed.data["since"] == lost.data["since"]
        assert resumed.data["until"] > lost.data["since"]
        publisher.publish(clicks_of(caller, link))
        reader.wait_for("click")
    assert web.output.count("redis is down: ") == 1


def test_leaving_frees_what_a_stream_holds(
    make_web: WebMaker, caller: Caller, publisher: LivePublisher
) -> None:
    web = make_web(LIVE_STREAMS_PER_WORKSPACE="2", LIVE_HEARTBEAT_SECONDS="60")
    readers = [watch(web, caller, "/live") for _ in range(2)]
    assert [reader.status for reader in readers] == [200, 200]
    for reader in readers:
        reader.leave()
    started = time.monotonic()

    def admitted() -> bool:
        with watch(web, caller, "/live") as again:
            return again.status == 200

    wait_until(admitted, 5)
    assert time.monotonic() - started < 4


def test_streams_are_bounded(make_web: WebMaker, caller: Caller, other_caller: Caller) -> None:
    web = make_web(LIVE_STREAMS="3", LIVE_STREAMS_PER_WORKSPACE="2")
    with watch(web, caller, "/live"), watch(web, caller, "/live"):
        refused(web, caller, 429)
        with watch(web, other_caller, "/live") as third:
            assert third.status == 200
            refused(web, other_caller, 503)


def refused(web: Web, caller: Caller, status: int) -> dict[str, Any]:
    with watch(web, caller, "/live", reads=False) as reader:
        assert reader.status == status
        assert int(reader.headers["Retry-After"]) > 0
        assert reader.headers["Content-Type"] == "application/problem+json"
        body = dict(json.loads(reader.response.read()))
        assert body["status"] == status
        return body


def test_stop_ends_streams_at_once(
    make_web: WebMaker, caller: Caller, publisher: LivePublisher
) -> None:
    web = make_web(LIVE_HEARTBEAT_SECONDS="60")
    link = caller.create_link()
    long = {"referrer": "r" * 250, "utm_campaign": "c" * 250, "utm_term": "t" * 250}
    with (
        watch(web, caller, "/live") as reader,
        watch(web, caller, "/live", reads=False) as stuck,
    ):
        for sent in range(1, 81):
            publisher.publish(clicks_of(caller, link, 100, **long))
            reader.wait_for("click", sent * 100)
        assert stuck.status == 200
        started = time.monotonic()
        assert web.stop() == 0
        assert time.monotonic() - started < 5
        reader.wait_end(1)
        assert reader.ended_whole
    assert "Traceback" not in web.output, web.output


def test_without_redis_the_answer_says_so(make_web: WebMaker, caller: Caller) -> None:
    web = make_web(REDIS_URL="")
    assert "Redis" in refused(web, caller, 503)["detail"]


def test_revoked_key_watches_no_longer(web: Web, caller: Caller) -> None:
    created = caller.post("/api-keys", {"name": "Watcher", "scopes": ["stats:read"]}).json
    with LiveReader(web.port, created["key"], "/live") as reader:
        assert reader.status == 200
        assert caller.delete(f"/api-keys/{created['id']}").status_code == 204
        reader.wait_end(10)


def test_head_is_answered_and_holds_nothing(make_web: WebMaker, caller: Caller) -> None:
    web = make_web(LIVE_STREAMS_PER_WORKSPACE="1")
    for _ in range(3):
        reader = watch(web, caller, "/live")
        assert reader.status == 200
        reader.leave()
        wait_until(lambda: head(web, caller) == 200, 5)


def head(web: Web, caller: Caller) -> int:
    connection = HTTPConnection("127.0.0.1", web.port, timeout=10)
    connection.request("HEAD", "/api/v1/live", headers={"Authorization": f"Bearer {caller.key}"})
    status = connection.getresponse().status
    connection.close()
    return status
