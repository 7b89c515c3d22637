"""Limits of addresses hold with Redis, without it, when it goes away, and when it is back."""

from __future__ import annotations

import ipaddress
import logging
import os
import secrets
import socket
import time
from collections.abc import Iterator

import pytest
import redis

from api.core import limits
from api.core.limits import AddressLimits, Rule, TooManyTries
from config.masking import mask
from config.settings import Settings
from tests.redirects.shared_redis import SharedRedis

LIMIT = 3


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def an_address() -> str:
    """One that no other test uses."""
    return str(ipaddress.IPv6Address((0x20010DB8 << 96) | (secrets.randbits(32) << 64) | 1))


def shared_url() -> str:
    url = os.environ.get("TEST_REDIS_URL")
    if not url:
        pytest.skip("no TEST_REDIS_URL")
    return url


def make(url: str | None, timeout_seconds: float = 1.0) -> AddressLimits:
    return AddressLimits(
        url, timeout_seconds, {"sign-in": Rule(LIMIT), "miss": Rule(1), "account": Rule(1, 3_600)}
    )


@pytest.fixture(params=["shared", "alone", "redis away"])
def made(request: pytest.FixtureRequest) -> AddressLimits:
    if request.param == "shared":
        return make(shared_url())
    if request.param == "alone":
        return make(None)
    return make(f"redis://127.0.0.1:{closed_port()}/0", 0.2)


def tries(made: AddressLimits, address: str, times: int, subject: str = "") -> list[int]:
    """For each try 0, or after how many seconds another may come."""
    waits = []
    for _ in range(times):
        try:
            made.hit("sign-in", address, subject)
            waits.append(0)
        except TooManyTries as refused:
            waits.append(int(refused.headers["Retry-After"]))
    return waits


def test_tries_past_the_limit_are_refused_for_a_minute(made: AddressLimits) -> None:
    waits = tries(made, an_address(), 6)
    assert waits[:4] == [0, 0, 0, 60]
    assert all(50 < wait <= 60 for wait in waits[4:])


def test_tries_are_counted_by_address_action_and_subject(made: AddressLimits) -> None:
    address = an_address()
    assert tries(made, address, 4)[-1] == 60
    assert tries(made, an_address(), 1) == [0]
    assert tries(made, address, 1, subject="another link") == [0]
    made.hit("miss", address)
    with pytest.raises(TooManyTries):
        made.hit("miss", address)


def test_what_is_no_address_is_counted_as_it_is(made: AddressLimits) -> None:
    account = secrets.token_hex(32)
    made.hit("account", account)
    with pytest.raises(TooManyTries) as refused:
        made.hit("account", account)
    assert refused.value.headers["Retry-After"] == "3600"
    assert refused.value.is_news
    with pytest.raises(TooManyTries) as again:
        made.hit("account", account)
    assert not again.value.is_news


def test_all_addresses_of_a_network_of_ipv6_are_one(made: AddressLimits) -> None:
    address = an_address()
    neighbour = str(ipaddress.IPv6Address(address) + 77)
    assert tries(made, address, 2) == [0, 0]
    assert tries(made, neighbour, 2) == [0, 60]


class Clock:
    """Time that passes when a test says so, for this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._later = 0.0
        wall, steady = time.time, time.monotonic
        monkeypatch.setattr(limits.time, "time", lambda: wall() + self._later)
        monkeypatch.setattr(limits.time, "monotonic", lambda: steady() + self._later)

    def pass_seconds(self, seconds: float) -> None:
        self._later += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_who_goes_on_waits_longer_each_time_up_to_an_hour(clock: Clock) -> None:
    made, address = make(None), an_address()
    waits = []
    for _ in range(8):
        waits.append(max(tries(made, address, 10)))
        clock.pass_seconds(waits[-1] + 0.01)
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600]

    clock.pass_seconds(3_600)
    assert max(tries(made, address, 10)) == 60, "nothing is held against it for ever"


def test_tries_of_the_last_minute_count_by_their_share(clock: Clock) -> None:
    clock.pass_seconds(60 - time.time() % 60)  # a window begins
    made, address = make(None), an_address()
    assert tries(made, address, 3) == [0, 0, 0]
    clock.pass_seconds(60 + 25)  # seven twelfths of the three are still within the last minute
    assert tries(made, address, 2) == [0, 60]


@pytest.fixture(scope="module")
def shared_redis(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedRedis]:
    """A Redis of these tests only."""
    server = SharedRedis(tmp_path_factory.mktemp("redis") / "valkey", settings)
    yield server
    server.stop()


def held(client: redis.Redis, address: str) -> tuple[bytes, int]:
    """The key of an address, and when its life ends."""
    (key,) = client.scan_iter(f"{limits._PREFIX}sign-in:*{address.rpartition(':')[0][:-1]}*")
    life: int = client.ttl(key)  # type: ignore[assignment]
    return key, life


def test_redis_counts_as_the_process_does(shared_redis: SharedRedis) -> None:
    """The same tries at the same moments, in Lua and in Python, have the same outcome."""
    address = an_address()
    for expected in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        # A new process each time: what it remembers of the refusal is not the subject.
        assert max(tries(make(shared_redis.url), address, 10)) == expected
        key, life = held(shared_redis.client, address)
        assert expected + 3_500 < life <= expected + 3_601
        # The block is over, and so is the window in which tries were counted.
        now = shared_redis.client.time()[0]  # type: ignore[index]
        shared_redis.client.hset(key, mapping={"until": now - 1, "window": 1})
    shared_redis.client.hset(key, mapping={"until": now - 3_700, "window": 1})
    assert max(tries(make(shared_redis.url), address, 10)) == 60


def test_redis_weighs_the_minute_before(shared_redis: SharedRedis) -> None:
    address = an_address()
    assert tries(make(shared_redis.url), address, 1) == [0]
    key, _ = held(shared_redis.client, address)
    index = int(shared_redis.client.hget(key, "window"))  # type: ignore[arg-type]
    shared_redis.client.hset(key, mapping={"window": index - 1, "count": 100_000})
    assert tries(make(shared_redis.url), address, 1) == [60]
    shared_redis.client.hset(key, mapping={"until": 0, "window": index - 2, "count": 100_000})
    assert tries(make(shared_redis.url), address, 1) == [0]


def test_processes_share_a_count_through_redis() -> None:
    address = an_address()
    assert tries(make(shared_url()), address, 2) == [0, 0]
    assert tries(make(shared_url()), address, 2) == [0, 60]


def test_a_refused_address_does_not_reach_redis(shared_redis: SharedRedis) -> None:
    made, address = make(shared_redis.url), an_address()
    tries(made, address, LIMIT + 1)
    before = shared_redis.client.info("commandstats")["cmdstat_evalsha"]["calls"]  # type: ignore[index]
    assert all(50 < wait <= 60 for wait in tries(made, address, 100))
    after = shared_redis.client.info("commandstats")["cmdstat_evalsha"]["calls"]  # type: ignore[index]
    assert after == before


def test_log_tells_of_each_refusal_once_and_of_redis_going_and_coming(
    shared_redis: SharedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made, address = make(shared_redis.url, 0.3), an_address()
    tries(made, address, 20)
    (told,) = caplog.records
    assert mask(address) in told.getMessage()
    assert address.rpartition(":")[0] not in told.getMessage()
    assert "sign-in" in told.getMessage()
    caplog.clear()

    shared_redis.kill()
    stranger = an_address()
    assert tries(made, stranger, LIMIT + 1) == [0, 0, 0, 60]
    away = [record.getMessage() for record in caplog.records if "redis" in record.getMessage()]
    assert len(away) == 1
    assert "tries of addresses are counted per process" in away[0]
    caplog.clear()

    shared_redis.restart()
    time.sleep(1.1)
    other = an_address()
    tries(made, other, 1)
    assert ["redis is up again" in record.getMessage() for record in caplog.records] == [True]
    assert tries(make(shared_redis.url), other, 3) == [0, 0, 60], "shared again"


def test_memory_is_bounded() -> None:
    made = make(None)
    for number in range(limits._MOST_LOCAL + 500):
        made.hit("sign-in", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(made._local) == limits._MOST_LOCAL
    for number in range(limits._MOST_LOCAL + 500):
        made._refuse(str(number), 60.0)
    assert len(made._refused) == limits._MOST_LOCAL
