"""Limits hold with Redis, without it, and when it goes away."""

from __future__ import annotations

import os
import socket
import uuid
from urllib.parse import urlsplit

import pytest
from limits import RateLimitItemPerMinute

from api.core.limits import RateLimiter

THREE = RateLimitItemPerMinute(3)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def allowed(limiter: RateLimiter, who: str, times: int) -> list[bool]:
    return [limiter.hit(THREE, "test", who).allowed for _ in range(times)]


@pytest.fixture(params=["shared", "alone", "redis away"])
def limiter(request: pytest.FixtureRequest) -> RateLimiter:
    if request.param == "shared":
        url = os.environ.get("TEST_REDIS_URL")
        if not url:
            pytest.skip("no TEST_REDIS_URL")
        return RateLimiter(url, 1.0)
    if request.param == "alone":
        return RateLimiter(None, 1.0)
    return RateLimiter(f"redis://127.0.0.1:{closed_port()}/0", 0.2)


def test_tries_are_counted_by_who_makes_them(limiter: RateLimiter) -> None:
    one, other = uuid.uuid4().hex, uuid.uuid4().hex
    assert allowed(limiter, one, 5) == [True, True, True, False, False]
    refused = limiter.hit(THREE, "test", one)
    assert 1 <= refused.retry_after_seconds <= 120
    assert allowed(limiter, other, 1) == [True]


def test_asking_counts_nothing(limiter: RateLimiter) -> None:
    who = uuid.uuid4().hex
    assert all(limiter.check(THREE, "test", who).allowed for _ in range(10))
    assert allowed(limiter, who, 4) == [True, True, True, False]
    assert not limiter.check(THREE, "test", who).allowed


def test_processes_share_a_count_through_redis() -> None:
    url = os.environ.get("TEST_REDIS_URL")
    if not url or urlsplit(url).scheme != "redis":
        pytest.skip("no TEST_REDIS_URL")
    who = uuid.uuid4().hex
    assert allowed(RateLimiter(url, 1.0), who, 2) == [True, True]
    assert allowed(RateLimiter(url, 1.0), who, 2) == [True, False]
