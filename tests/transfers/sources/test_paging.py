"""The APIs of other services: all links once, the oldest first, politely."""

from __future__ import annotations

import socket
import time

import pytest

from api.transfers.sources.asking import Asker
from api.transfers.sources.catalogue import SOURCES
from api.transfers.sources.errors import NotAnswered
from api.transfers.sources.feed import Changes, ServiceFeed, marks_from_json, marks_to_json
from api.transfers.sources.paging import KuttPages, Pages, ShlinkPages, YourlsPages
from tests.transfers.sources.services import KEY, Kutt, Service, Shlink, Yourls, running

SERVICES = [Shlink, Kutt, Yourls]


def pages_of(service: Service, url: str, key: str = KEY) -> tuple[Pages, list[float]]:
    """Its links, and how long the client sleeps between calls."""
    slept: list[float] = []

    def asker(**headers: str) -> Asker:
        return Asker(
            {name.replace("_", "-"): value for name, value in headers.items()}, 1000, slept.append
        )

    if isinstance(service, Shlink):
        return ShlinkPages(asker(X_Api_Key=key), url + "/"), slept
    if isinstance(service, Kutt):
        return KuttPages(asker(X_API_Key=key), url), slept
    return YourlsPages(asker(), f"{url}/yourls-api.php", key), slept


def targets(pages: Pages, start: int = 0) -> list[str]:
    names = ("longUrl", "target", "url")
    return [str(record.get(*names)) for record in pages.records(start)]


def expected(count: int, start: int = 0) -> list[str]:
    return [f"https://example.com/{number}" for number in range(start, count)]


@pytest.mark.parametrize("kind", SERVICES)
def test_all_links_come_once_and_the_oldest_first(kind: type[Service]) -> None:
    service = kind(430)
    with running(service) as url:
        pages, _ = pages_of(service, url)
        assert targets(pages) == expected(430)
        assert pages.total == 430
        assert targets(pages, 217) == expected(430, 217)
        assert targets(pages, 430) == []
    assert all(KEY not in query.get("key", "") for query in service.asked)


@pytest.mark.parametrize("kind", SERVICES)
def test_links_that_are_made_meanwhile_come_at_the_end(kind: type[Service]) -> None:
    service = kind(430)
    service.growth = [0, 0, 7, 0, 3]
    with running(service) as url:
        pages, _ = pages_of(service, url)
        assert targets(pages) == expected(440)


@pytest.mark.parametrize("kind", SERVICES)
def test_service_without_links_is_read(kind: type[Service]) -> None:
    service = kind(0)
    with running(service) as url:
        assert targets(pages_of(service, url)[0]) == []


@pytest.mark.parametrize("kind", SERVICES)
def test_wrong_key_is_told_at_once(kind: type[Service]) -> None:
    service = kind(3)
    with running(service) as url, pytest.raises(NotAnswered, match="refuses the key"):
        targets(pages_of(service, url, "another")[0])
    assert len(service.asked) == 1


def test_busy_service_is_asked_again_when_it_wants() -> None:
    service = Shlink(3)
    service.troubles = [(429, {"Retry-After": "17"}), (503, {}), None, (502, {})]
    with running(service) as url:
        pages, slept = pages_of(service, url)
        assert targets(pages) == expected(3)
    assert 17.0 in slept
    assert len(service.asked) == 5


def test_service_that_stays_away_is_given_up() -> None:
    service = Kutt(3)
    service.troubles = [(503, {})] * 50
    with running(service) as url:
        pages, _ = pages_of(service, url)
        with pytest.raises(NotAnswered, match="7 times: it answers 503"):
            targets(pages)


def test_patience_bounds_the_tries() -> None:
    service = Kutt(3)
    service.troubles = [(503, {})] * 50
    began = time.monotonic()
    with running(service) as url:
        pages = KuttPages(Asker({"X-API-Key": KEY}, 1000, patience_seconds=1.5), url)
        with pytest.raises(NotAnswered, match="2 times: it answers 503"):
            targets(pages)
        service.troubles = [(429, {"Retry-After": "90"})]
        with pytest.raises(NotAnswered, match="once: it answers 429"):
            targets(pages)
    assert time.monotonic() - began < 3


def test_patience_bounds_an_answer_that_does_not_come() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        pages = KuttPages(
            Asker({}, 1000, patience_seconds=1), f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        began = time.monotonic()
        with pytest.raises(NotAnswered, match=r"once: .*timed out"):
            targets(pages)
        assert time.monotonic() - began < 3


def test_another_service_is_told() -> None:
    with running(Kutt(3)) as url:
        pages, _ = pages_of(Shlink(3), url)
        with pytest.raises(NotAnswered, match="answers 404: is it the address"):
            targets(pages)


def test_calls_keep_their_distance() -> None:
    service = Kutt(120)
    with running(service) as url:
        began = time.monotonic()
        pages = KuttPages(Asker({"X-API-Key": KEY}, 20), url)
        assert len(targets(pages)) == 120
        assert time.monotonic() - began >= (len(service.asked) - 1) / 20
    assert len(service.asked) == 4


def test_feed_goes_on_where_it_was_left_and_counts_losses_once() -> None:
    service = Kutt(1300)
    with running(service) as url:
        whole = ServiceFeed(pages_of(service, url)[0], SOURCES["kutt"], Changes())
        lines = list(whole.lines(0))
        assert len(lines) == whole.done == whole.size == 1300
        first = ServiceFeed(pages_of(service, url)[0], SOURCES["kutt"], Changes())
        reading = first.lines(0)
        assert [next(reading) for _ in range(1200)] == lines[:1200]
        service.asked.clear()
        second = ServiceFeed(pages_of(service, url)[0], SOURCES["kutt"], Changes())
        second.marks = marks_from_json(marks_to_json(first.marks))
        assert list(second.lines(1100)) == lines[1100:]
        assert second.losses == whole.losses
        # Not from the beginning, but from the last mark before.
        assert len(service.asked) < 10
