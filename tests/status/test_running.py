"""Two hosts, one database, one Redis: the page of either tells of both, while parts fail."""

from __future__ import annotations

import json
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from api.core.embedded import processes
from api.core.embedded.valkey import EmbeddedValkey
from api.operations.status.figures import Figures, add
from api.operations.status.shared import SharedMinutes
from tests.caller import Caller
from tests.conftest import OPERATOR
from tests.redirects.wire.server import WebServer, side_by_side
from tests.running import ROOT, clean_environ, wait_until
from tests.services.network import free_ports
from tests.status.test_page import marks, picture


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Redis in which only these hosts keep minutes."""
    made = EmbeddedValkey(tmp_path_factory.mktemp("redis") / "valkey", port=free_ports(1)[0])
    made.start()
    wait_until(made.ready)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def hosts(
    valkey: EmbeddedValkey, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[WebServer]]:
    settings = environ | {"REDIS_URL": valkey.url, "STATUS_SAMPLE_SECONDS": "1"}
    with side_by_side(tmp_path_factory.mktemp("hosts"), settings) as servers:
        yield servers


def look(host: WebServer) -> dict[str, Any]:
    url = f"http://127.0.0.1:{host.port}/status"
    asked = urllib.request.Request(url, headers=OPERATOR)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def follow(host: WebServer, slug: str) -> int:
    connection = HTTPConnection("127.0.0.1", host.port, timeout=30)
    try:
        connection.request("GET", f"/{slug}", headers={"Host": "sign.test"})
        return connection.getresponse().status
    finally:
        connection.close()


def page_of(host: WebServer) -> str:
    url = f"http://127.0.0.1:{host.port}/status"
    asked = urllib.request.Request(url, headers=OPERATOR | {"Accept": "text/html"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def counted(valkey: EmbeddedValkey) -> Figures:
    """All that hosts have told since the test began, of whichever minute."""
    now = int(time.time() // 60)
    together: Figures = {}
    for minute in SharedMinutes(valkey.url, 1).read(range(now - 10, now + 1)):
        add(together, minute or {})
    return together


def texts(host: WebServer) -> str:
    return " ".join(it["text"] for it in look(host)["findings"])


def newest(host: WebServer, name: str) -> float:
    """The largest that was told of a minute lately: the newest one may have just begun."""
    return max(minute[name] or 0 for minute in look(host)["minutes"][-3:])


def test_each_host_tells_of_both(hosts: list[WebServer]) -> None:
    for host in hosts:
        wait_until(lambda: newest(host, "hosts") == 2, 15)  # noqa: B023
        wait_until(lambda: newest(host, "workers") == 2, 15)  # noqa: B023
    told = look(hosts[0])
    assert {it["name"]: it["status"] for it in told["dependencies"]} == {
        "database": "up", "redis": "up", "spool": "up", "disk": "up",
    }  # fmt: skip
    # Before they were there nothing is known.
    assert told["minutes"][0]["hosts"] is None


def test_traffic_of_both_hosts_adds_up(
    hosts: list[WebServer], valkey: EmbeddedValkey, caller: Caller
) -> None:
    wait_until(lambda: newest(hosts[0], "hosts") == 2, 15)
    before = counted(valkey)
    link = caller.create_link()
    for host in hosts:
        assert {follow(host, link["slug"]) for _ in range(20)} == {302}
        assert follow(host, "nothing") == 404
        for _ in range(5):
            assert host.call(caller.key, "GET", "/links")[0] == 200
        assert host.call("wrong", "GET", "/links")[0] == 401

    def more(beginning: str) -> float:
        now = counted(valkey)
        return sum(
            number - before.get(name, 0.0)
            for name, number in now.items()
            if name.startswith(beginning)
        )

    wait_until(lambda: more("redirects.") == 42 and more("clicks_recorded") == 40, 15)
    wait_until(lambda: more("calls.2xx") >= 10 and more("calls.4xx") == 2, 15)
    # The first visit of each host is read from further away than those after it.
    assert more("redirects.prepared") >= 30
    assert more("redirects.missing") == 2
    assert more("redirect_time.") == 42
    assert more("clicks_recorded") == 40
    assert more("calls.2xx") >= 10
    assert more("calls.4xx") == 2
    assert more("call_time.") == more("calls.")
    # And the page of either host draws it.
    for host in hosts:
        drawn = picture(page_of(host), "redirects")
        assert marks(drawn, "prepared") >= 1
        assert marks(picture(page_of(host), "redirect-time"), "slow") >= 1


def test_while_redis_is_away_a_host_tells_of_itself(
    hosts: list[WebServer], valkey: EmbeddedValkey
) -> None:
    wait_until(lambda: newest(hosts[0], "hosts") == 2, 15)
    valkey.stop()
    wait_until(lambda: "Redis is away since" in texts(hosts[0]), 15)
    told = look(hosts[0])
    assert told["status"] == "degraded"
    assert "redirects and the API go on" in told["findings"][0]["text"]
    assert newest(hosts[0], "hosts") == 1
    assert newest(hosts[0], "loop_delay_seconds") > 0

    valkey.start()
    wait_until(valkey.ready)
    wait_until(lambda: "Redis" not in texts(hosts[0]), 15)
    wait_until(lambda: newest(hosts[0], "hosts") == 2, 75)


def test_clicks_are_counted_and_a_consumer_that_ends_is_missed(
    hosts: list[WebServer], environ: dict[str, str], valkey: EmbeddedValkey, caller: Caller
) -> None:
    home = hosts[1].home
    settings = environ | {"REDIS_URL": valkey.url}
    consumer = processes.spawn(
        [sys.executable, str(ROOT / "scripts" / "consume-clicks")],
        death_signal=signal.SIGTERM,
        log=home.with_name("consumer.log"),
        environ=clean_environ(home) | settings | {"SIGNPOST_HOME": str(home)},
    )

    def state() -> str | None:
        told = {it["name"]: it["status"] for it in look(hosts[0])["dependencies"]}
        return told.get("click consumer")

    try:
        wait_until(lambda: state() == "up", 20)
        assert "click consumer" not in texts(hosts[0])
        link = caller.create_link()
        assert {follow(hosts[1], link["slug"]) for _ in range(3)} == {302}
        wait_until(lambda: counted(valkey).get("clicks_counted", 0) >= 3, 15)
        newest_delay = look(hosts[0])["minutes"][-2:]
        assert any((it["click_delay_seconds"]["p99"] or 60) < 10 for it in newest_delay)
        # The page of either host tells of it.
        consumer.kill()
        consumer.wait()
        wait_until(lambda: "The click consumer is away since" in texts(hosts[0]), 20)
    finally:
        processes.stop(consumer, [(signal.SIGTERM, 10.0)])


@pytest.mark.slow
def test_clicks_that_nobody_counts_are_told(hosts: list[WebServer], caller: Caller) -> None:
    link = caller.create_link()
    assert follow(hosts[0], link["slug"]) == 302
    wait_until(lambda: "Clicks wait: the oldest for" in texts(hosts[0]), 40)
    hosts[0].spool.read()
    wait_until(lambda: "Clicks wait" not in texts(hosts[0]), 90)
