"""Clients that are slow, idle, many or rude: they hold up nobody, and cost nobody a click."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.redirects.wire.answers import read_conversation
from tests.redirects.wire.kernel import unread_bytes, wait_until_read
from tests.redirects.wire.pair import request
from tests.redirects.wire.site import PATIENCE_SECONDS, Client, Site
from tests.running import wait_until

KEEPALIVE_SECONDS = 2
# How late the server may find out: it looks once a second, and the machine may be busy.
LATE_SECONDS = 2.5
# Nobody waits for so long, whatever others do.
SLOW_SECONDS = 0.5

BOTH = [
    pytest.param(True, id="fast"),
    # What gunicorn's worker does without the fast path: asked for when one of these fails.
    pytest.param(False, id="plain", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=BOTH)
def site(
    request: pytest.FixtureRequest,
    environ: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    settings = {**environ, "GUNICORN_KEEPALIVE_SECONDS": str(KEEPALIVE_SECONDS)}
    with Site(tmp_path_factory.mktemp("site"), settings, fast=request.param) as site:
        yield site


def test_slow_senders_are_answered_and_hold_up_nobody(site: Site) -> None:
    data = site.request()
    early, late = data[:-12], data[-12:]
    with ExitStack() as stack, Client(site) as busy:
        slow = [stack.enter_context(Client(site)) for _ in range(100)]
        for client in slow:
            client.send(early)
        took = []
        for byte in late:
            for client in slow:
                client.send(bytes([byte]))
            took += [busy.ask() for _ in range(10)]
            time.sleep(0.05)
        for client in slow:
            client.expect_redirect()

    assert max(took) < SLOW_SECONDS
    assert statistics.median(took) < SLOW_SECONDS / 10


def test_idle_connections_hold_up_nobody_and_stay(site: Site) -> None:
    with ExitStack() as stack, Client(site) as busy:
        idle = [stack.enter_context(Client(site)) for _ in range(200)]
        for client in idle:
            client.ask()
        took = [busy.ask() for _ in range(300)]
        for client in idle:
            client.ask()

    assert max(took) < SLOW_SECONDS
    assert statistics.median(took) < SLOW_SECONDS / 10


def test_busy_connections_hold_up_nobody(site: Site) -> None:
    end = threading.Event()

    def hurry() -> None:
        with Client(site) as client:
            while not end.is_set():
                client.ask()

    threads = [threading.Thread(target=hurry) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        with Client(site) as client:
            took = [client.ask() for _ in range(100)]
    finally:
        end.set()
        for thread in threads:
            thread.join()

    assert max(took) < SLOW_SECONDS


def test_many_requests_at_once_hold_up_nobody(site: Site) -> None:
    """gunicorn would answer all that is readable on one connection before it looks at another."""
    count = 600
    with Client(site) as hasty, Client(site) as other:
        other.ask()
        hasty.send(request("/robots.txt", site.host) * count)
        other.ask()
        still_waiting = unread_bytes(hasty.socket)
        hasty.receive_answers(count)

    assert still_waiting > 0


def test_reader_that_is_slow_gets_every_answer_in_order(site: Site) -> None:
    with Client(site, receive_bytes=4096) as lazy:
        sent = _send_until_refused(site, lazy)
        with Client(site) as busy:
            took = [busy.ask() for _ in range(50)]
        received = lazy.read_to_the_end()

    assert max(took) < SLOW_SECONDS
    answers = read_conversation(received, b"", ended=True).answers
    given = [int((answer.header(b"X-Request-ID") or b"").split(b"-")[1]) for answer in answers]
    assert given == list(range(sent))
    site.answered += sent


def test_reader_that_leaves_with_answers_unread_costs_nothing(site: Site) -> None:
    before = site.server.resident_bytes()
    clicks = 0
    for _ in range(5):
        with Client(site) as client:
            for _ in range(200):
                client.send(site.request())
                wait_until_read(client.socket)
            clicks += 200
    site.answered += clicks  # each was answered: the answers fit where they wait

    with Client(site) as client:
        assert client.ask() < SLOW_SECONDS
    assert site.server.resident_bytes() - before < 20_000_000


def test_visitor_who_leaves_at_once_is_counted(site: Site) -> None:
    for _ in range(50):
        with Client(site) as client:
            client.send(site.request())
        site.answered += 1  # whether or not anybody listens

    with Client(site) as client:
        client.ask()


def test_idle_connection_is_closed_in_time_and_not_before(site: Site) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(site)) for _ in range(4)]
        answered, silent, half, busy = clients
        answered.ask()
        half.send(site.request()[:20])
        started = time.monotonic()
        lives: dict[str, float] = {}

        def watch(name: str, client: Client) -> None:
            assert client.read_to_the_end() == b""
            lives[name] = time.monotonic() - started

        watchers = [
            threading.Thread(target=watch, args=item)
            for item in (("answered", answered), ("silent", silent), ("half", half))
        ]
        for thread in watchers:
            thread.start()
        while time.monotonic() - started < 2 * KEEPALIVE_SECONDS:
            time.sleep(0.4 * KEEPALIVE_SECONDS)
            busy.ask()  # as long as it asks in time, it may stay
        for thread in watchers:
            thread.join(PATIENCE_SECONDS)

    assert lives.keys() == {"answered", "silent", "half"}
    for life in lives.values():
        assert KEEPALIVE_SECONDS - 0.1 < life < KEEPALIVE_SECONDS + LATE_SECONDS


@pytest.mark.parametrize("fast", BOTH)
def test_stop_answers_who_asks_and_closes_the_others(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory, fast: bool
) -> None:
    site = Site(tmp_path_factory.mktemp("stop"), environ, fast=fast)
    with site, ExitStack() as stack:
        clients = [stack.enter_context(Client(site)) for _ in range(30)]
        idle, asking, half = clients[:10], clients[10:20], clients[20:]
        for client in clients:
            client.ask()
        for client in half:
            client.send(site.request()[:20])
        site.server.ask_to_stop()
        started = time.monotonic()
        for client in asking:
            client.ask()
        for client in half:
            client.send(site.request()[20:])
            client.expect_redirect()
        for client in clients:
            assert client.read_to_the_end() == b""

        assert site.server.stop() == 0
        assert time.monotonic() - started < PATIENCE_SECONDS
        assert idle


@pytest.mark.parametrize("fast", BOTH)
def test_stop_under_load_loses_no_click(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory, fast: bool
) -> None:
    site = Site(tmp_path_factory.mktemp("stop"), environ, fast=fast)
    unanswered: list[None] = []

    def hurry() -> None:
        try:
            with Client(site) as client:
                while True:
                    client.ask()
        except (AssertionError, OSError):
            unanswered.append(None)  # closed: whoever asked just then asks again elsewhere

    with site:
        threads = [threading.Thread(target=hurry) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        site.server.ask_to_stop()
        for thread in threads:
            thread.join()

    assert len(unanswered) == 8


@pytest.mark.parametrize("fast", BOTH)
def test_without_keep_alive_each_answer_closes(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory, fast: bool
) -> None:
    settings = {**environ, "GUNICORN_KEEPALIVE_SECONDS": "0"}
    server = Site(tmp_path_factory.mktemp("closing"), settings, fast=fast)
    with server as site:
        for _ in range(5):
            with Client(site) as client:
                client.send(site.request())
                assert client.expect_redirect().header(b"Connection") == b"close"
                assert client.read_to_the_end() == b""


def test_worker_is_replaced_after_so_many_requests_that_were_parsed(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {**environ, "GUNICORN_MAX_REQUESTS": "100"}
    with Site(tmp_path_factory.mktemp("replaced"), settings, fast=True) as site:
        first = site.server.worker
        with Client(site) as client, Client(site) as other:
            for _ in range(200):
                client.ask()
            parsed = 1
            other.send(site.request("", "Content-Length: 0"))
            while other.expect_redirect().header(b"Connection") != b"close":
                other.send(site.request("", "Content-Length: 0"))
                parsed += 1
            client.ask()  # it may just have asked, and is told to go only then
            assert client.read_to_the_end() == other.read_to_the_end() == b""
        assert 90 <= parsed < 120

        wait_until(lambda: site.server.workers not in ([], [first]))
        with Client(site) as client:
            client.ask()


def _send_until_refused(site: Site, client: Client) -> int:
    """Ask, read nothing, and stop when the server does not read any more either."""
    for number in range(100_000):
        client.send(site.request("", f"X-Request-ID: number-{number}"))
        deadline = time.monotonic() + 0.5
        while unread_bytes(client.socket):
            if time.monotonic() > deadline:
                return number + 1
    raise AssertionError("the server reads on and on")
