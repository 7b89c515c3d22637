"""The comparison itself: whatever is different, it notices."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate

import pytest

from tests.redirects.wire.answers import read_conversation
from tests.redirects.wire.pair import Difference, Pair, Side, follow_up, request
from tests.redirects.wire.talk import Message

ASK = Message((request("/plain?q=1", "wire.test", "User-Agent: me"),), follow_up=b"")


def test_same_bytes_get_the_same_answers(pair: Pair) -> None:
    seen = pair.compare(Message(ASK.pieces, follow_up=follow_up()))

    first, second = seen.conversation.answers
    assert first.code == second.code == 302
    assert [click.query.split("=")[0] for click in seen.clicks] == ["q", "after"]
    assert seen.clicks[0].user_agent == "me"


def test_fast_path_is_at_work(pair: Pair) -> None:
    def order(side: Side) -> list[bytes]:
        with socket.create_connection(("127.0.0.1", side.server.port)) as connection:
            connection.sendall(request("/plain"))
            side.redirects += 1
            lines = connection.recv(65536).split(b"\r\n")
            side.read_clicks()
            return [line.split(b":")[0] for line in lines]

    # Nobody may have asked for a minute: then it is read again.
    for side in pair.sides:
        order(side)
    # The order of headers is what the two may differ in, and do.
    assert order(pair.fast) != order(pair.plain)
    assert sorted(order(pair.fast)[1:]) == sorted(order(pair.plain)[1:])


@pytest.mark.parametrize(
    "tamper",
    [
        lambda answer: answer.replace(b"302 FOUND", b"302 Found"),
        lambda answer: answer.replace(b"302", b"307"),
        lambda answer: answer.replace(b"target.example/plain", b"target.example/moved"),
        lambda answer: answer.replace(b"X-Content-Type-Options: nosniff\r\n", b""),
        lambda answer: answer.replace(b"Date:", b"Dated:"),
        lambda answer: answer.replace(b"Date: ", b"Date: x"),
        lambda answer: answer.replace(b"X-Request-ID: ", b"X-Request-ID: x"),
        lambda answer: answer.replace(b"\r\n\r\n", b"\r\nVia: 1.1 x\r\n\r\n"),
        lambda answer: answer.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"),
        lambda answer: answer.replace(b"\r\n", b"\n"),
        lambda answer: answer + b" ",
        lambda answer: answer * 2,
        lambda answer: answer[:-1],
        lambda answer: b"",
    ],
)
def test_another_answer_is_noticed(pair: Pair, tamper: Callable[[bytes], bytes]) -> None:
    with _between(pair, tamper), pytest.raises(Difference):
        pair.compare(ASK)


def test_what_differs_each_time_is_not_noticed(pair: Pair) -> None:
    def tamper(answer: bytes) -> bytes:
        return answer.replace(b"Server: gunicorn\r\n", b"Server: x\r\n")

    with _between(pair, tamper):
        pair.compare(ASK)


def test_request_id_that_is_not_the_given_one_is_noticed(pair: Pair) -> None:
    given = "0123456789abcdef0123456789abcdef"  # pragma: allowlist secret
    message = Message((request("/plain", "wire.test", f"X-Request-ID: {given}"),))
    pair.compare(message)

    with (
        _between(pair, lambda answer: answer.replace(given.encode(), b"f" * 32)),
        pytest.raises(Difference),
    ):
        pair.compare(message)


def test_click_that_only_one_server_wrote_is_noticed(pair: Pair) -> None:
    pair.fast.visit(ASK)

    with pytest.raises(Difference, match="clicks"):
        pair.compare(ASK)

    pair.plain.visit(ASK)
    pair.ask(ASK)


def test_answers_are_told_apart_whatever_they_are_to() -> None:
    date = formatdate(usegmt=True).encode()
    head = b"HTTP/1.1 404 NOT FOUND\r\nDate: " + date + b"\r\nContent-Length: 5\r\n\r\n"
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    go_on = b"HTTP/1.1 100 Continue\r\n\r\n"

    read = read_conversation(head + head + b"hello" + go_on + chunks + b"HTT", b"", ended=True)

    assert [answer.code for answer in read.answers] == [404, 404, 100, 200]
    assert [answer.body for answer in read.answers] == [b"", b"hello", b"", b"abc"]
    assert read.answers[0].header(b"date") == b"<now>"
    assert read.rest == b"HTT"


@contextmanager
def _between(pair: Pair, tamper: Callable[[bytes], bytes]) -> Iterator[None]:
    """Change what the fast server answers, on its way. Each connection carries one answer."""
    side, server = pair.fast, pair.fast.server
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def relay() -> None:
        connection = listener.accept()[0]
        with connection, socket.create_connection(("127.0.0.1", server.port)) as upstream:
            for source, sink, change in (
                (connection, upstream, lambda data: data),
                (upstream, connection, tamper),
            ):
                data = b""
                while piece := source.recv(65536):
                    data += piece
                sink.sendall(change(data))
                sink.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=relay)
    thread.start()
    redirects, side.port = side.redirects, listener.getsockname()[1]
    try:
        yield
    finally:
        # The visitor was redirected once, whatever became of the answer.
        side.redirects, side.port = redirects + 1, server.port
        thread.join()
        listener.close()
