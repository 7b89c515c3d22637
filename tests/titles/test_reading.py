"""Asking strangers for pages: what is never asked, and what is not waited for."""

from __future__ import annotations

import gzip
import socket
import ssl
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.core.outbound.client import PageReader
from api.core.outbound.dialing import Dialing, Failed, Refused
from tests.titles.servers import (
    PUBLIC,
    Asked,
    Internet,
    Server,
    certificate,
    page,
    send,
    serving,
)

INSIDE = (
    "127.0.0.1 10.0.0.7 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 "
    "255.255.255.255 ::1 :: fe80::1 fc00::1 fd00:ec2::254 ff02::1 ::ffff:127.0.0.1 "
    "::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1::1 2002:a9fe:a9fe::1 "
    "2001:0:4136:e378:8000:63bf:3fff:fdd2 ::127.0.0.1 fec0::1 fe80::1%1"
).split()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(page("A title")) as running:
        yield running


@pytest.fixture
def internet(server: Server) -> Internet:
    return Internet(server)


def test_page_is_read_as_a_stranger_would(server: Server, internet: Internet) -> None:
    read = internet.reader().read("http://user:secret@example.com/a?b=c#d")
    assert (read.status, read.url) == (200, "http://user:secret@example.com/a?b=c#d")
    assert b"A title" in read.body
    assert internet.dialled == [(PUBLIC, 80)]
    (asked,) = server.asked
    assert asked.line == "GET /a?b=c HTTP/1.1"
    assert asked.headers["host"] == "example.com"
    assert "+https://sign.test/" in asked.headers["user-agent"]
    assert not {"authorization", "cookie", "referer"} & set(asked.headers)


@pytest.mark.parametrize("address", INSIDE)
def test_name_of_an_address_inside_is_refused(address: str, internet: Internet) -> None:
    internet.names["inside.example"] = [[address]]
    with pytest.raises(Refused):
        internet.reader().read("http://inside.example/")
    assert internet.dialled == []


@pytest.mark.parametrize("address", INSIDE)
def test_name_of_an_address_inside_and_one_outside_is_refused(
    address: str, internet: Internet
) -> None:
    internet.names["both.example"] = [[PUBLIC, address]]
    with pytest.raises(Refused):
        internet.reader().read("http://both.example/")
    assert internet.dialled == []


@pytest.mark.parametrize("address", [it for it in INSIDE if "%" not in it])
def test_literal_address_inside_is_refused(address: str, internet: Internet) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Refused):
        internet.reader().read(f"http://{host}/")
    assert internet.dialled == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_other_spellings_of_an_address_are_refused(host: str, internet: Internet) -> None:
    with pytest.raises(Refused):
        internet.reader().read(f"http://{host}/")
    assert internet.dialled == []


def test_real_resolver_and_connection_refuse_loopback(server: Server) -> None:
    reader = PageReader(
        Dialing(connect_seconds=1.0),
        user_agent="x",
        total_seconds=3.0,
        size_bytes=1000,
        ports={server.port},
    )
    for host in ("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"):
        with pytest.raises(Refused):
            reader.read(f"http://{host}:{server.port}/")
    assert server.asked == []


def test_name_is_asked_for_once_and_what_it_stood_for_is_connected_to(internet: Internet) -> None:
    internet.names["rebinding.example"] = [[PUBLIC], ["127.0.0.1"]]
    assert internet.reader().read("http://rebinding.example/").status == 200
    assert internet.resolved == ["rebinding.example"]
    assert internet.dialled == [(PUBLIC, 80)]


def test_name_that_turns_round_between_redirects_is_refused(
    server: Server, internet: Internet
) -> None:
    internet.names["rebinding.example"] = [[PUBLIC], ["127.0.0.1"]]
    server.answer = send(status="302 Found", location="/again")
    with pytest.raises(Refused):
        internet.reader().read("http://rebinding.example/")
    assert internet.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://2852039166/",
        "//127.0.0.1/",
        "http://inside.example/",
        "http://example.com:22/",
        "http://example.com:6379/",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "javascript:alert(1)",
        "http:///",
    ],
)
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 T", "308 P"])
def test_redirect_inside_is_refused(
    status: str, location: str, server: Server, internet: Internet
) -> None:
    internet.names["inside.example"] = [["10.0.0.1"]]
    server.answer = send(status=status, location=location)
    with pytest.raises(Refused):
        internet.reader().read("http://example.com/")
    assert internet.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize("url", ["ftp://a.example/", "http://a.example:8080/", "mailto:a@b", "x"])
def test_what_is_no_address_of_the_web_is_refused(url: str, internet: Internet) -> None:
    with pytest.raises(Refused):
        internet.reader().read(url)
    assert internet.resolved == []


def test_redirects_are_followed_five_times(server: Server, internet: Internet) -> None:
    def answer(connection: socket.socket, asked: Asked) -> None:
        number = int(asked.line.split()[1].strip("/"))
        send(status="302 Found", location=f"/{number - 1}")(connection, asked) if number else page(
            "The end"
        )(connection, asked)

    server.answer = answer
    assert b"The end" in internet.reader().read("http://example.com/5").body
    with pytest.raises(Refused):
        internet.reader().read("http://example.com/6")


def test_cookies_are_not_kept(server: Server, internet: Internet) -> None:
    server.answer = send(status="302 Found", location="/next", set_cookie="a=b")
    with pytest.raises(Refused):
        internet.reader().read("http://example.com/")
    assert len(server.asked) == 6
    assert not any("cookie" in asked.headers for asked in server.asked)


def test_endless_body_ends_at_the_bound(server: Server, internet: Internet) -> None:
    def answer(connection: socket.socket, _: Asked) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    server.answer = answer
    assert len(internet.reader().read("http://example.com/").body) == 512 * 1024


@pytest.mark.parametrize("piece", [b"x", b"HTTP/1.1 200 OK\r\nX: "])
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_slow_drip_is_cut_at_the_deadline(
    head: bytes, piece: bytes, server: Server, internet: Internet
) -> None:
    def answer(connection: socket.socket, _: Asked) -> None:
        connection.sendall(head + piece)
        while True:
            time.sleep(0.05)
            connection.sendall(b"x")

    server.answer = answer
    started = time.monotonic()
    with pytest.raises(Failed):
        internet.reader(seconds=0.7).read("http://example.com/")
    assert 0.6 < time.monotonic() - started < 1.5


def test_silence_is_cut_at_the_deadline(server: Server, internet: Internet) -> None:
    server.answer = lambda connection, _: time.sleep(5)
    started = time.monotonic()
    with pytest.raises(Failed):
        internet.reader(seconds=0.5).read("http://example.com/")
    assert time.monotonic() - started < 1.5


def test_resolver_that_hangs_is_not_waited_for(internet: Internet) -> None:
    dialing = Dialing(connect_seconds=0.3, resolver=lambda host, port: time.sleep(2) or [])  # type: ignore[func-returns-value]
    reader = PageReader(dialing, user_agent="x", total_seconds=3, size_bytes=1000)
    started = time.monotonic()
    with pytest.raises(Failed):
        reader.read("http://example.com/")
    assert time.monotonic() - started < 1


def test_compressed_page_is_unpacked(server: Server, internet: Internet) -> None:
    packed = gzip.compress(b"<title>Packed</title>" + b"x" * 100_000)
    server.answer = send(packed, content_encoding="gzip")
    assert b"Packed" in internet.reader().read("http://example.com/").body


def test_bomb_is_unpacked_up_to_the_bound(server: Server, internet: Internet) -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * (1 << 28), 9), 9)
    server.answer = send(bomb, content_encoding="gzip, gzip")
    reader = internet.reader()
    tracemalloc.start()
    try:
        body = reader.read("http://example.com/").body
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) == 512 * 1024
    assert peak < 8_000_000


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not http\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip at all",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nless",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 999999999999 OK\r\n\r\n",
    ],
)
def test_broken_answer_is_a_failure(answer: bytes, server: Server, internet: Internet) -> None:
    server.answer = lambda connection, _: connection.sendall(answer)
    with pytest.raises(Failed):
        internet.reader().read("http://example.com/")


def test_what_is_not_wanted_is_not_read(server: Server, internet: Internet) -> None:
    server.answer = send(b"x" * 100, content_type="video/mp4")
    assert internet.reader().read("http://example.com/", lambda kind: "html" in kind).body == b""
    server.answer = send(b"x" * 100, status="404 Not Found")
    assert internet.reader().read("http://example.com/").body == b""


def test_reading_ends_when_there_is_enough(server: Server, internet: Internet) -> None:
    def answer(connection: socket.socket, _: Asked) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n<title>A</title>")
        time.sleep(5)

    server.answer = answer
    started = time.monotonic()
    read = internet.reader().read("http://example.com/", enough=lambda body: b"</title>" in body)
    assert read.body == b"<title>A</title>"
    assert time.monotonic() - started < 1


def test_other_addresses_are_tried_where_one_does_not_answer(internet: Internet) -> None:
    second = "93.184.216.35"
    internet.names["two.example"] = [[PUBLIC, second]]
    dial = internet.dial

    def refuse_first(address: str, port: int, seconds: float) -> socket.socket:
        connection = dial(address, port, seconds)
        if address == PUBLIC:
            connection.close()
            raise ConnectionRefusedError
        return connection

    dialing = Dialing(connect_seconds=1.0, resolver=internet.resolve, dialer=refuse_first)
    reader = PageReader(dialing, user_agent="x", total_seconds=3, size_bytes=1000)
    assert reader.read("http://two.example/").status == 200
    assert [address for address, _ in internet.dialled] == [PUBLIC, second]


def test_certificate_must_be_of_the_name_that_was_asked_for(tmp_path: Path) -> None:
    here, key = certificate(tmp_path, "tls.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(here, key)
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    trusting = ssl.create_default_context(cafile=str(here))
    with serving(page("Secure"), context) as server:
        internet = Internet(server)
        read = internet.reader(tls=trusting).read("https://tls.example/")
        assert b"Secure" in read.body
        assert names == ["tls.example"]
        assert internet.dialled == [(PUBLIC, 443)]
        with pytest.raises(Failed, match=r"(?i)hostname|match"):
            internet.reader(tls=trusting).read("https://other.example/")
        with pytest.raises(Failed, match=r"(?i)certificate"):
            internet.reader().read("https://tls.example/")
