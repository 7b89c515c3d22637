"""Which bytes are answered before they are parsed, and with what click."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket

from api.clicks.records import FLAG_HEAD, FLAG_PREFETCH, ClickRecord, header_line, read_segment
from api.clicks.spool import Spool
from api.core.transport import Transport
from api.redirects.cache import Target, TargetCache
from api.redirects.fast import MAX_REQUEST_BYTES, FastPath
from api.redirects.prepared import PreparedAnswers
from api.redirects.turn import Turn
from config.settings import Settings

PLAIN = Target(
    slot=1,
    id=4711,
    workspace_id=7,
    url="https://example.com/?a=1",
    starts_at=None,
    expires_at=None,
    limited=False,
    password_hash=None,
    redirect_status=302,
    forward_query=False,
    enabled=True,
    deleted=False,
)
REQUEST = (
    b"GET /abc HTTP/1.1\r\nHost: sign.test\r\nUser-Agent: Firefox\r\nAccept: */*\r\n"
    b"Accept-Language: de\r\nReferer: https://news.example/\r\n\r\n"
)


@pytest.fixture
def cache() -> TargetCache:
    made = TargetCache(
        entries=10,
        size_bytes=1_000_000,
        synced_seconds=60.0,
        unsynced_seconds=1.0,
        stale_seconds=60.0,
    )
    made.set_synced(True)
    return made


@pytest.fixture
def renewals() -> list[str]:
    return []


@pytest.fixture
def answers(cache: TargetCache, renewals: list[str]) -> PreparedAnswers:
    made = PreparedAnswers(cache, 3, renewals.append)
    cache.on_put(made.renewed)
    return made


@pytest.fixture
def make_fast(answers: PreparedAnswers, tmp_path: Path) -> Callable[..., FastPath]:
    def make(**changes: str) -> FastPath:
        spool = Spool(tmp_path, 1_000_000, 1.0, 1_000_000)
        settings = Settings.load({"TRUSTED_PROXIES": "10.0.0.0/8"} | changes)
        return FastPath(answers, spool, Transport(settings))

    return make


@pytest.fixture
def fast(make_fast: Callable[..., FastPath]) -> FastPath:
    return make_fast()


@pytest.fixture
def know(cache: TargetCache, answers: PreparedAnswers) -> Callable[..., None]:
    """Make a link known as if it had been followed at `sign.test/slug`."""

    def put(slug: str = "abc", **changes: Any) -> None:
        key = f"sign.test/{slug}"
        cache.put(key, replace(PLAIN, **changes), cache.generation(key))
        answers.put(key.encode(), key)

    return put


def clicks_of(*lines: bytes) -> list[ClickRecord]:
    return read_segment(header_line("s", 1) + b"".join(lines)).records


def test_known_link_is_answered_and_its_click_is_whole(
    fast: FastPath, know: Callable[..., None]
) -> None:
    know()
    before = time.time_ns() // 1_000_000
    answered = fast.answer(REQUEST, "192.0.2.7")
    assert answered is not None
    line, answer = answered
    (click,) = clicks_of(line)
    assert before <= click.at_ms <= time.time_ns() // 1_000_000
    assert click[1:] == (4711, 7, "192.0.2.7", "Firefox", "https://news.example/", "de", "", 0)
    head, empty, body = answer.partition(b"\r\n\r\n")
    assert (empty, body) == (b"\r\n\r\n", b"")
    status, *fields = head.decode().split("\r\n")
    assert status == "HTTP/1.1 302 FOUND"
    named = dict(field.split(": ", 1) for field in fields)
    assert named["Location"] == PLAIN.url
    assert named["Content-Length"] == "0"
    assert len(named["X-Request-ID"]) == 32
    assert len(named) == len(fields)


@pytest.mark.parametrize(
    ("request_bytes", "query", "flags"),
    [
        (REQUEST.replace(b"GET", b"HEAD"), "", FLAG_HEAD),
        (REQUEST.replace(b"/abc", b"/abc?"), "", 0),
        (REQUEST.replace(b"/abc", b"/abc?x=1&y=%20/?\\"), "x=1&y=%20/?\\", 0),
        (REQUEST.replace(b"Accept: */*", b"Sec-Purpose: prefetch;prerender"), "", FLAG_PREFETCH),
        (REQUEST.replace(b"Accept: */*", b"Connection: Keep-Alive"), "", 0),
    ],
)
def test_what_a_request_tells_is_recorded(
    fast: FastPath, know: Callable[..., None], request_bytes: bytes, query: str, flags: int
) -> None:
    know()
    for _ in range(2):  # the second time from memory
        answered = fast.answer(request_bytes, "192.0.2.7")
        assert answered is not None
        (click,) = clicks_of(answered[0])
        assert (click.query, click.flags) == (query, flags)


@pytest.mark.parametrize(
    ("peer", "chain", "address"),
    [
        ("192.0.2.7", "203.0.113.9", "192.0.2.7"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
    ],
)
def test_address_is_told_by_trusted_proxies_only(
    fast: FastPath, know: Callable[..., None], peer: str, chain: str, address: str
) -> None:
    know()
    request = REQUEST.replace(b"Accept: */*", f"X-Forwarded-For: {chain}".encode())
    answered = fast.answer(request, peer)
    assert answered is not None
    assert clicks_of(answered[0])[0].address == address


@pytest.mark.parametrize(
    ("given", "peer", "proto", "promised"),
    [
        ({}, "192.0.2.7", "https", False),
        ({}, "10.0.0.1", "https", True),
        ({}, "10.0.0.1", "http", False),
        ({"BASE_URL": "https://sign.test"}, "10.0.0.1", "", True),
        ({"BASE_URL": "https://sign.test"}, "10.0.0.1", "http", False),
        ({"BASE_URL": "https://sign.test"}, "192.0.2.7", "https", False),
        ({"BASE_URL": "https://sign.test", "TRUSTED_PROXIES": ""}, "192.0.2.7", "http", True),
        ({"HSTS_SECONDS": "0"}, "10.0.0.1", "https", False),
        ({"FORCE_HTTPS": "true"}, "10.0.0.1", "https", True),
        ({"FORCE_HTTPS": "true"}, "192.0.2.7", "http", False),
    ],
)
def test_https_is_promised_to_those_who_came_by_it(
    make_fast: Callable[..., FastPath],
    know: Callable[..., None],
    given: dict[str, str],
    peer: str,
    proto: str,
    promised: bool,
) -> None:
    know()
    request = REQUEST.replace(b"Accept: */*", f"X-Forwarded-Proto: {proto}".encode())
    answered = make_fast(**given).answer(request, peer)
    assert answered is not None
    assert answered[1].count(b"\r\nStrict-Transport-Security: max-age=31536000\r\n") == promised
    assert answered[1].count(b"\r\n\r\n") == 1


def test_who_is_to_be_sent_to_https_is_left_to_the_parser(
    make_fast: Callable[..., FastPath], know: Callable[..., None]
) -> None:
    know()
    request = REQUEST.replace(b"Accept: */*", b"X-Forwarded-Proto: http")
    assert make_fast(FORCE_HTTPS="true").answer(request, "10.0.0.1") is None


def test_texts_are_bounded(fast: FastPath, know: Callable[..., None]) -> None:
    know()
    request = REQUEST.replace(b"Firefox", b"x" * 3_000).replace(b"/abc", b"/abc?" + b"q" * 3_000)
    answered = fast.answer(request, "192.0.2.7")
    assert answered is not None
    (click,) = clicks_of(answered[0])
    assert (len(click.user_agent), len(click.query)) == (1_024, 2_048)


@pytest.mark.parametrize(
    "other",
    [
        b"",
        REQUEST[:-1],
        REQUEST[:-2],
        REQUEST + b"x",
        REQUEST + REQUEST,
        REQUEST.replace(b"\r\n", b"\n"),
        REQUEST.replace(b"GET", b"POST"),
        REQUEST.replace(b"GET", b"get"),
        REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"),
        REQUEST.replace(b"/abc", b"//abc"),
        REQUEST.replace(b"/abc", b"/abc/"),
        REQUEST.replace(b"/abc", b"/unknown"),
        REQUEST.replace(b"/abc", b"/%61bc"),
        REQUEST.replace(b"/abc", b"/abc#x"),
        REQUEST.replace(b"/abc", b"http://sign.test/abc"),
        REQUEST.replace(b"sign.test", b"other.test"),
        REQUEST.replace(b"sign.test", b"SIGN.test"),
        REQUEST.replace(b"sign.test", b"sign.test:x"),
        REQUEST.replace(b"Host: sign.test\r\n", b""),
        REQUEST.replace(b"Accept: */*", b"Host: sign.test"),
        REQUEST.replace(b"Accept: */*", b"accept-language: en"),
        REQUEST.replace(b"Accept: */*", b"Content-Length: 0"),
        REQUEST.replace(b"Accept: */*", b"Transfer-Encoding: chunked"),
        REQUEST.replace(b"Accept: */*", b"Connection: close"),
        REQUEST.replace(b"Accept: */*", b"Expect: 100-continue"),
        REQUEST.replace(b"Accept: */*", b"Upgrade: h2c"),
        REQUEST.replace(b"Accept: */*", b"A_b: c"),
        REQUEST.replace(b"Accept: */*", b"Accept : */*"),
        REQUEST.replace(b"Accept: */*", b" folded"),
        REQUEST.replace(b"Accept: */*", b"A: \x00"),
        REQUEST.replace(b"Accept: */*", b"A: \xc3\xa4"),
        REQUEST.replace(b"Accept: */*", b"A:\tb"),
        REQUEST.replace(b"Accept: */*", b"A: " + b"x" * MAX_REQUEST_BYTES),
        REQUEST.replace(b"Accept: */*\r\n", b"".join(b"A%d: b\r\n" % n for n in range(64))),
    ],
)
def test_everything_else_is_left_to_the_parser(
    fast: FastPath, know: Callable[..., None], other: bytes
) -> None:
    know()
    assert fast.answer(other, "192.0.2.7") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"enabled": False},
        {"deleted": True},
        {"limited": True},
        {"password_hash": "x"},
        {"url": "https://example.com/\u00e4"},
    ],
)
def test_link_that_is_not_plain_is_left_to_the_parser(
    fast: FastPath, know: Callable[..., None], changes: dict[str, Any]
) -> None:
    know(**changes)
    assert fast.answer(REQUEST, "192.0.2.7") is None


def test_link_that_takes_the_query_along_is_answered_without_one_only(
    fast: FastPath, know: Callable[..., None]
) -> None:
    know(forward_query=True)
    assert fast.answer(REQUEST, "192.0.2.7") is not None
    assert fast.answer(REQUEST.replace(b"/abc", b"/abc?b=2"), "192.0.2.7") is None


@pytest.mark.parametrize("key", ["link:sign.test/abc", "domain:sign.test"])
def test_what_was_changed_is_answered_no_more(
    fast: FastPath, answers: PreparedAnswers, know: Callable[..., None], key: str
) -> None:
    know()
    answers.evict(["link:sign.test/other"])
    assert fast.answer(REQUEST, "192.0.2.7") is not None
    answers.evict([key])
    assert fast.answer(REQUEST, "192.0.2.7") is None


def test_answer_follows_the_link_when_it_is_loaded_again(
    fast: FastPath, cache: TargetCache, know: Callable[..., None]
) -> None:
    know()
    key = "sign.test/abc"
    cache.put(key, replace(PLAIN, url="https://example.org/"), cache.generation(key))
    answered = fast.answer(REQUEST, "192.0.2.7")
    assert answered is not None
    assert b"Location: https://example.org/\r\n" in answered[1]
    cache.put(key, replace(PLAIN, enabled=False), cache.generation(key))
    assert fast.answer(REQUEST, "192.0.2.7") is None


def test_answers_are_bounded_and_the_oldest_goes_first(
    fast: FastPath, answers: PreparedAnswers, know: Callable[..., None]
) -> None:
    for slug in ("abc", "b", "c", "d"):
        know(slug)
    assert len(answers.known) == 3
    assert fast.answer(REQUEST, "192.0.2.7") is None
    assert fast.answer(REQUEST.replace(b"/abc", b"/d"), "192.0.2.7") is not None


def test_a_life_that_ends_is_renewed_ahead_and_ends(
    fast: FastPath,
    answers: PreparedAnswers,
    renewals: list[str],
    know: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    know()
    fast.answer(REQUEST, "192.0.2.7")
    assert renewals == []
    begun = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: begun + 50)
    assert fast.answer(REQUEST, "192.0.2.7") is not None
    assert renewals == ["sign.test/abc"]
    monkeypatch.setattr(time, "monotonic", lambda: begun + 61)
    assert fast.answer(REQUEST, "192.0.2.7") is None


def test_clicks_are_written_before_anybody_is_answered() -> None:
    client, server = socket.socketpair()
    written: list[tuple[bytes, int]] = []

    def write(lines: bytes, clicks: int) -> None:
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.setblocking(True)
        written.append((lines, clicks))

    turn = Turn(write)
    turn.add(server, b"1\n", b"one")
    turn.add(server, b"2\n", b"two")
    assert written == []
    gevent.sleep(0)
    assert written == [(b"1\n2\n", 2)]
    assert client.recv(100) == b"onetwo"
    client.close()
    server.close()


def test_visitors_are_answered_when_the_disk_refuses() -> None:
    client, server = socket.socketpair()

    def refuse(_lines: bytes, _clicks: int) -> None:
        raise OSError(28, "full")

    turn = Turn(refuse)
    turn.add(server, b"1\n", b"one")
    turn.flush()
    assert client.recv(100) == b"one"
    client.close()
    server.close()


def test_visitors_are_cut_off_when_nothing_counts_their_clicks() -> None:
    client, server = socket.socketpair()
    spool = Spool(Path("unused"), 1_000_000, 1.0, 1_000_000)  # not started, or closed
    turn = Turn(spool.record_lines)
    turn.add(server, b"1\n", b"one")
    turn.flush()
    assert client.recv(100) == b""
    assert server.recv(100) == b""
    client.close()
    server.close()


def test_next_answer_does_not_overtake_one_that_a_slow_reader_has_in_part() -> None:
    client, server = socket.socketpair()
    turn = Turn(lambda _lines, _clicks: None)
    long = b"x" * 5_000_000
    turn.add(server, b"1\n", long)
    turn.flush()

    def go_on() -> None:
        turn.settle(server)
        turn.add(server, b"2\n", b"end")

    gevent.spawn(go_on)
    received = b""
    while not received.endswith(b"end"):
        received += client.recv(1_000_000)
    assert received == long + b"end"
    client.close()
    server.close()


def test_visitor_who_is_gone_harms_nobody() -> None:
    gone, server = socket.socketpair()
    client, other = socket.socketpair()
    gone.close()
    turn = Turn(lambda _lines, _clicks: None)
    turn.add(server, b"1\n", b"one")
    turn.add(other, b"2\n", b"two")
    turn.flush()
    assert client.recv(100) == b"two"
    for each in (server, client, other):
        each.close()
