"""Links that change while both servers know them: neither goes on as before."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.redirects.wire.links import HOST, TARGET, make_link, must
from tests.redirects.wire.pair import Pair, request
from tests.redirects.wire.talk import Message

# Until a change is known everywhere: 0.1 s, and more where the machine is busy.
_KNOWN_SECONDS = 0.3


class KnownLink:
    """A link that both servers answer from what they keep."""

    def __init__(self, pair: Pair, slug: str, **fields: Any) -> None:
        self._pair = pair
        self.slug = slug
        self.id = make_link(pair.plain.server, pair.key, slug=slug, **fields)["id"]
        for _ in range(3):
            assert self.code() == 302

    def code(self, method: str = "GET", host: str = HOST) -> int:
        """What both servers answer now."""
        return self.answer(method, host).code

    def answer(self, method: str = "GET", host: str = HOST) -> Any:
        """The same, whole."""
        message = Message((request(f"/{self.slug}", host, method=method),))
        (answer,) = self._pair.compare(message).conversation.answers
        return answer

    def change(self, **fields: Any) -> None:
        """Change it, through the server that has no fast path."""
        must(self._pair.plain.server.call(self._pair.key, "PATCH", f"/links/{self.id}", fields))
        time.sleep(_KNOWN_SECONDS)

    def delete(self) -> None:
        """Delete it, through the other one."""
        must(self._pair.fast.server.call(self._pair.key, "DELETE", f"/links/{self.id}"))
        time.sleep(_KNOWN_SECONDS)


@pytest.fixture
def known(pair: Pair) -> Callable[..., KnownLink]:
    count = 0

    def make(**fields: Any) -> KnownLink:
        nonlocal count
        count += 1
        slug = f"known-{time.monotonic_ns()}-{count}"
        return KnownLink(pair, slug, **fields)

    return make


def test_other_target(known: Callable[..., KnownLink]) -> None:
    link = known()
    for number in range(5):
        link.change(url=f"{TARGET}elsewhere/{number}")
        assert link.answer().header(b"Location") == f"{TARGET}elsewhere/{number}".encode()


def test_other_status(known: Callable[..., KnownLink]) -> None:
    link = known()
    link.change(redirect_status=307)
    assert link.code() == link.code("HEAD") == 307


def test_disabled_and_enabled_again(known: Callable[..., KnownLink]) -> None:
    link = known()
    link.change(state="disabled")
    assert link.code() == link.code("HEAD") == 404
    link.change(state="active")
    assert link.code() == link.code() == 302


def test_deleted(known: Callable[..., KnownLink]) -> None:
    link = known()
    link.delete()
    assert link.code() == link.code("HEAD") == 410


def test_password(known: Callable[..., KnownLink]) -> None:
    link = known()
    link.change(password="pw")
    assert link.code() == 403
    link.change(password=None)
    assert link.code() == link.code() == 302


def test_click_limit(known: Callable[..., KnownLink]) -> None:
    link = known()
    link.change(max_clicks=4)  # two for each server
    assert [link.code() for _ in range(3)] == [302, 302, 410]


def test_query_is_passed_on(known: Callable[..., KnownLink], pair: Pair) -> None:
    link = known()
    link.change(forward_query=True)
    seen = pair.compare(Message((request(f"/{link.slug}?a=b"),)))
    (answer,) = seen.conversation.answers
    assert answer.header(b"Location") == f"{TARGET}{link.slug}?a=b".encode()


def test_expiry(known: Callable[..., KnownLink]) -> None:
    link = known()
    end = datetime.now(UTC) + timedelta(seconds=1.5)
    link.change(expires_at=end.isoformat())
    assert link.code() == link.code() == 302
    time.sleep(max((end - datetime.now(UTC)).total_seconds(), 0) + 0.1)
    assert link.code() == link.code("HEAD") == 410


def test_start(known: Callable[..., KnownLink]) -> None:
    link = known()
    start = datetime.now(UTC) + timedelta(seconds=1.5)
    link.change(starts_at=start.isoformat())
    assert link.code() == 404
    time.sleep(max((start - datetime.now(UTC)).total_seconds(), 0) + 0.1)
    assert link.code() == link.code() == 302


def test_domain_that_is_given_up(known: Callable[..., KnownLink], pair: Pair) -> None:
    host = f"d{time.monotonic_ns()}.example"
    domain = must(pair.plain.server.call(pair.key, "POST", "/domains", {"host": host}))
    time.sleep(_KNOWN_SECONDS)
    make_link(pair.plain.server, pair.key, slug="there", domain=host)

    def code() -> int:
        (answer,) = pair.compare(Message((request("/there", host),))).conversation.answers
        return answer.code

    assert [code() for _ in range(3)] == [302] * 3
    must(pair.plain.server.call(pair.key, "DELETE", f"/domains/{domain['id']}"))
    time.sleep(_KNOWN_SECONDS)
    assert code() == 404
