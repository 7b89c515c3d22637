"""TLS: which versions, whose certificates, and http, which leads there."""

from __future__ import annotations

import socket
import ssl
import warnings

import h2.connection
import h2.events
import pytest

from tests.gateway.client import ApiClient, Connection, ask, ask_plainly
from tests.gateway.system import HOST, Gateway, System
from tests.running import wait_until


def shake_hands(
    gateway: Gateway,
    host: str,
    version: ssl.TLSVersion | None = None,
    protocols: tuple[str, ...] = (),
) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(gateway.authority.file))
    if version is not None:
        context.set_ciphers("ALL:@SECLEVEL=0")  # or our own side would refuse the old versions
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
    if protocols:
        context.set_alpn_protocols(protocols)
    plain = socket.create_connection(("127.0.0.1", gateway.https_port), 10)
    return context.wrap_socket(plain, server_hostname=host)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_new_versions_agree_with_forward_secrecy(system: System, version: ssl.TLSVersion) -> None:
    with shake_hands(system.gateway, HOST, version) as connection:
        name, _, bits = connection.cipher() or ("", "", 0)
        assert name.startswith(("ECDHE-", "TLS_")) and bits >= 128
        assert (
            connection.session is None
            or not connection.session.has_ticket
            or (version is ssl.TLSVersion.TLSv1_3)
        )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(system: System, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)alert|version"):
        shake_hands(system.gateway, HOST, version)


def test_http2_reaches_the_fast_path(system: System, api: ApiClient) -> None:
    slug = api.create_link()["slug"]
    for _ in range(6):
        ask(system.gateway, "GET", f"/{slug}")
    with shake_hands(system.gateway, HOST, protocols=("h2", "http/1.1")) as stream:
        assert stream.selected_alpn_protocol() == "h2"
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        for number in range(12):
            fields = [
                (":method", "GET"),
                (":path", f"/{slug}"),
                (":authority", HOST),
                (":scheme", "https"),
            ]
            connection.send_headers(2 * number + 1, [*fields, ("te", "trailers")], end_stream=True)
        stream.sendall(connection.data_to_send())
        answers: dict[int, dict[bytes, bytes]] = {}
        while len(answers) < 12:
            for event in connection.receive_data(stream.recv(65_536)):
                if isinstance(event, h2.events.ResponseReceived):
                    answers[event.stream_id or 0] = {
                        bytes(name): bytes(value) for name, value in event.headers or ()
                    }
            stream.sendall(connection.data_to_send())
    assert {answer[b":status"] for answer in answers.values()} == {b"302"}
    # Ids that are counted up, see test_routes.py.
    assert len({answer[b"x-request-id"][:16] for answer in answers.values()}) <= 2


def test_http_leads_to_https(system: System) -> None:
    gateway = system.gateway
    answer = ask_plainly(gateway, "GET", "/spring?a=%2F", HOST)
    assert answer.status == 308
    assert answer.headers["Location"] == f"https://{HOST}:{gateway.https_port}/spring?a=%2F"
    ask_plainly(gateway, "POST", "/api/v1/links", HOST).problem(403, "https-required")


def test_hosts_without_a_certificate_are_refused(system: System) -> None:
    gateway = system.gateway
    ask_plainly(gateway, "GET", "/", "other.test").problem(421, "misdirected-request")
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
        shake_hands(gateway, "other.test")
    # Who agrees on TLS for one host and asks for another.
    connection = Connection(gateway)
    connection.ask("GET", "/", headers={"Host": "other.test"}).problem(421, "misdirected-request")
    connection.close()


def test_domain_is_served_as_soon_as_its_certificate_is_there(system: System) -> None:
    gateway = system.gateway
    challenge = gateway.home / "acme" / ".well-known" / "acme-challenge" / "token"
    challenge.write_text("what the authority asked for")
    path = "/.well-known/acme-challenge/token"
    assert ask_plainly(gateway, "GET", path, "new.test").body == b"what the authority asked for"
    gateway.add_certificate("new.test")
    gateway.reload()
    wait_until(lambda: ask_plainly(gateway, "GET", "/x", "new.test").status == 308)
    answer = ask(gateway, "GET", "/robots.txt", host="new.test")
    assert answer.status == 200
    assert ask(gateway, "GET", "/robots.txt", host=f"a.{HOST}").status == 200  # by a wildcard
