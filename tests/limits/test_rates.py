"""What a plan lets through, and what callers are told of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from api.identity.service import IdentityService
from tests.caller import Caller
from tests.limits.conftest import AppMaker, at
from tests.redirects.shared_redis import SharedRedis

CallerMaker = Callable[..., Caller]
# A list of strings with parameters (RFC 9651), as the draft has it.
ITEM = r'"[a-z]+"(;[a-z]=[0-9]+)+'
FIELD = re.compile(rf"{ITEM}(, {ITEM})*")


@pytest.fixture(autouse=True)
def _not_at_the_turn_of_a_minute() -> None:
    """In which a limit would let some more through within a test."""
    if (left := 60 - time.time() % 60) < 5:
        time.sleep(left + 0.1)


def test_reads_past_the_rate_are_refused(caller_of: CallerMaker) -> None:
    caller = caller_of("tiny")
    answers = [caller.get("/links") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2

    refused = answers[-1]
    assert refused.content_type == "application/problem+json"
    problem = refused.json or {}
    assert problem["type"] == "urn:signpost:problem:quota-exceeded"
    assert problem["violated-policies"] == ["reads"]
    assert problem["detail"] == "The plan allows 5 reads a minute."
    assert 1 <= int(refused.headers["Retry-After"]) <= 120


def test_headers_tell_what_is_left(caller_of: CallerMaker) -> None:
    caller = caller_of("tiny")
    for left in (4, 3, 2, 1, 0):
        answer = caller.get("/links")
        assert answer.headers["RateLimit-Policy"] == '"reads";q=5;w=60, "calls";q=100;w=86400'
        limits = answer.headers["RateLimit"]
        assert FIELD.fullmatch(limits)
        assert f'"reads";r={left};t=' in limits
        assert f'"calls";r={95 + left};t=' in limits
        assert "Retry-After" not in answer.headers
    refused = caller.get("/links")
    wait = refused.headers["Retry-After"]
    # Not earlier than the end of the window that the field tells.
    assert f'"reads";r=0;t={wait}' in refused.headers["RateLimit"]


def test_reads_and_writes_are_apart(caller_of: CallerMaker) -> None:
    caller = caller_of("tiny")
    for _ in range(5):
        assert caller.get("/links").status_code == 200
    answers = [caller.delete("/links/1") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404] * 3 + [429]
    assert answers[0].headers["RateLimit-Policy"].startswith('"writes";q=3;w=60')
    assert (answers[-1].json or {})["violated-policies"] == ["writes"]


def test_credentials_are_apart_and_share_the_day(caller_of: CallerMaker) -> None:
    caller = caller_of("tiny")
    other = caller.with_scopes("links:read")
    assert [caller.get("/links").status_code for _ in range(6)] == [200] * 5 + [429]
    answer = other.get("/links")
    assert answer.status_code == 200
    # What was refused used up nothing.
    assert '"reads";r=4' in answer.headers["RateLimit"]
    assert '"calls";r=94' in answer.headers["RateLimit"]


def test_a_call_without_the_scope_counts_too(caller_of: CallerMaker) -> None:
    caller = caller_of("tiny").with_scopes("stats:read")
    assert [caller.get("/links").status_code for _ in range(6)] == [403] * 5 + [429]


def test_who_is_not_known_is_told_of_no_limit(caller_of: CallerMaker) -> None:
    app = caller_of("tiny").app
    answer = app.test_client().get("/api/v1/links")
    assert answer.status_code == 401
    assert "RateLimit" not in answer.headers


def test_calls_past_the_day_are_refused_until_it_ends(caller_of: CallerMaker) -> None:
    caller = caller_of("days")
    before = time.time()
    answers = [caller.get("/links") for _ in range(3)] + [caller.post("/links", {})]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"calls";q=3;w=86400'
    refused = answers[-1]
    assert (refused.json or {})["violated-policies"] == ["calls"]
    ends = before + int(refused.headers["Retry-After"])
    assert abs(ends % 86_400) < 5 or 86_400 - ends % 86_400 < 5


def test_without_limits_nothing_is_told_and_nothing_counted(
    caller_of: CallerMaker, own_redis: SharedRedis
) -> None:
    caller = caller_of("unlimited")
    for _ in range(20):
        answer = caller.get("/links")
        assert answer.status_code == 200
        assert "RateLimit" not in answer.headers
        assert "RateLimit-Policy" not in answer.headers
    keys = list(own_redis.client.scan_iter(f"signpost:plans:*{caller.workspace_id}*"))
    assert keys == []


def test_a_plan_is_known_to_running_processes_at_once(
    caller_of: CallerMaker, make: AppMaker
) -> None:
    caller = caller_of("tiny")
    assert '"reads";q=5' in caller.get("/links").headers["RateLimit-Policy"]

    # As scripts/set-plan does, with the evictions of another process.
    management = at(caller, make()).app.extensions["signpost.services"][IdentityService]
    management.set_plan(caller.workspace_id, "days")

    deadline = time.monotonic() + 5
    while "reads" in caller.get("/links").headers.get("RateLimit-Policy", ""):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_workspace_without_a_plan_has_the_default(caller_of: CallerMaker, make: AppMaker) -> None:
    caller = caller_of(None, make(DEFAULT_PLAN="standard"))
    assert caller.get("/links").headers["RateLimit-Policy"] == '"reads";q=6000;w=60'
    assert caller.delete("/links/1").headers["RateLimit-Policy"] == '"writes";q=3000;w=60'


def test_a_plan_that_is_gone_is_the_default(
    caller_of: CallerMaker, make: AppMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caller = caller_of("no-longer", make(DEFAULT_PLAN="standard"))
    for _ in range(3):
        assert '"reads";q=6000' in caller.get("/links").headers["RateLimit-Policy"]
    told = [line for line in caplog.messages if "no-longer" in line]
    assert len(told) == 1


def test_a_workspace_cannot_give_itself_a_plan(caller_of: CallerMaker) -> None:
    caller = caller_of("links")
    answer = caller.request(
        "PATCH",
        f"/workspaces/{caller.workspace_id}",
        json={"plan": "unlimited"},
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert answer.status_code == 422


def test_two_processes_share_one_count(caller_of: CallerMaker, make: AppMaker) -> None:
    one = caller_of("tiny")
    other = at(one, make())
    answers = [caller.get("/links").status_code for caller in (one, other) * 3]
    assert answers == [200] * 5 + [429]
