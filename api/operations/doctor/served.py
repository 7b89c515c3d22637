"""The certificates that servers show to their clients: those of ours, and our own web server's."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from cryptography import x509

from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, ok, unknown, warning, wrong
from api.operations.doctor.reasons import explain
from api.operations.doctor.subject import ASK_SECONDS, Place, Subject
from config.redis_urls import node_urls

_SOON_DAYS = 14
# SSLRequest (PostgreSQL documentation, "Message Formats"); the answer is S or N.
_SSL_REQUEST = struct.pack("!II", 8, 80877103)


@dataclass(frozen=True, slots=True)
class _Server:
    check: str
    host: str
    port: int
    asks_first: bool = False  # as PostgreSQL wants to be

    def __str__(self) -> str:
        return self.check


def look(subject: Subject) -> Iterator[Finding]:
    """Each server that settings ask to speak TLS with."""
    yield from for_each(subject, list(_servers(subject)), _certificate)


def _servers(subject: Subject) -> Iterator[_Server]:
    settings = subject.settings
    for url in node_urls(settings.redis_url or ""):
        if url.startswith("rediss://"):
            yield _server("redis", url, 6379)
    if settings.amqp_url and settings.amqp_url.startswith("amqps:"):
        yield _server("broker", settings.amqp_url, 5671)
    if not subject.is_embedded and "DATABASE_URL" not in subject.faults:
        for place in [*subject.primaries(), *subject.replicas()]:
            yield from _of_database(place)


def _of_database(place: Place) -> Iterator[_Server]:
    parameters = place.server.parameters
    asked = str(parameters.get("sslmode", "prefer"))
    hosts = str(parameters.get("host", "")).split(",")
    ports = str(parameters.get("port", "") or 5432).split(",")
    for number, host in enumerate(hosts):
        if host and not host.startswith("/") and asked in ("require", "verify-ca", "verify-full"):
            port = int(ports[number] if number < len(ports) else ports[0])
            yield _Server(f"certificate of {place.name}", host, port, asks_first=True)


def _server(name: str, url: str, port: int) -> _Server:
    parts = urlsplit(url)
    return _Server(f"certificate of {name}", parts.hostname or "localhost", parts.port or port)


def _certificate(server: _Server) -> Iterator[Finding]:
    try:
        shown = _shown(server)
    except ssl.SSLError as error:
        advice = f"Nothing speaks TLS at {server.host}:{server.port}: correct the port, or the URL."
        yield wrong(server.check, explain(error), advice)
        return
    except OSError:
        yield unknown(server.check, "not looked at: see the connections")
        return
    end = shown.not_valid_after_utc
    days = (end - datetime.now(UTC)).total_seconds() / 86_400
    place = f"of {server.host}:{server.port}"
    found = f"{place} until {end:%Y-%m-%d}, {days:.0f} days"
    if days <= 0:
        advice = "Renew it on the server, and have it read it again."
        yield wrong(server.check, f"{place} expired on {end:%Y-%m-%d}", advice)
    elif days < _SOON_DAYS:
        yield warning(server.check, found, "Renew it on the server in time.")
    else:
        yield ok(server.check, found)


def _shown(server: _Server) -> x509.Certificate:
    """What it shows; whether to believe it is for each client to say, which has the authority."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # to look at one that is over, too
    with socket.create_connection((server.host, server.port), ASK_SECONDS) as plain:
        if server.asks_first:
            plain.sendall(_SSL_REQUEST)
            if plain.recv(1) != b"S":
                raise ssl.SSLError("the server speaks no TLS")
        with context.wrap_socket(plain, server_hostname=server.host) as secure:
            return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
