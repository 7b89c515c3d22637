"""Reads pages of the public internet, as a stranger who trusts nobody: within bounds of time and
size, without cookies or credentials, and never from one's own network."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import ada_url
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from api.core.addresses import Address
from api.core.outbound.dialing import Deadline, Dialing, Failed, Refused
from api.core.tracing.spans import CLIENT, Span, outgoing, within

Reach = Callable[[], socket.socket]
Wants = Callable[[str], bool]
Enough = Callable[[bytes | bytearray], bool]

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MAX_REDIRECTS = 5
_CHUNK = 16_384
_PORTS = {"http": 80, "https": 443}
_MAX_URL = 8192


@dataclass(frozen=True, slots=True)
class Page:
    """What an address answered, after its redirects."""

    url: str
    status: int
    content_type: str
    body: bytes


def _all(_content_type: str) -> bool:
    return True


def _never(_body: bytes | bytearray) -> bool:
    return False


class _Plain(HTTPConnection):
    """A connection that `reach` makes, whatever its host is called."""

    def __init__(self, reach: Reach, host: str, port: int, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._reach = reach

    def _new_conn(self) -> socket.socket:
        return self._reach()


class _Secure(HTTPSConnection):
    """The same, with TLS: the certificate must be the host's."""

    def __init__(self, reach: Reach, host: str, port: int, **options: Any) -> None:
        super().__init__(host, port, **options)
        self._reach = reach

    def _new_conn(self) -> socket.socket:
        return self._reach()


class PageReader:
    """Asks for pages; safe for threads."""

    def __init__(
        self,
        dialing: Dialing,
        *,
        user_agent: str,
        total_seconds: float,
        size_bytes: int,
        ports: Collection[int] = frozenset(_PORTS.values()),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._dialing = dialing
        self._total_seconds = total_seconds
        self._size_bytes = size_bytes
        self._ports = ports
        self._tls = tls or ssl.create_default_context()
        self._headers = {
            "User-Agent": user_agent,
            "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.1",
            "Accept-Encoding": "gzip, deflate",
            "Accept-Language": "*",
            "Connection": "close",
        }

    def read(self, url: str, wants: Wants = _all, enough: Enough = _never) -> Page:
        """The page at `url`, as far as the bounds let: where it was found and its type is one
        that `wants`, until there is `enough` of its body.

        Raises:
            Refused: it may not be asked for.
            Failed: it did not answer, or not in time.
        """
        with Deadline(self._total_seconds) as deadline:
            for _ in range(_MAX_REDIRECTS + 1):
                asked = self._checked(url)
                page = self._ask(asked, deadline, wants, enough)
                if isinstance(page, Page):
                    return page
                url = page
        raise Refused("There are too many redirects.")

    def _checked(self, url: str) -> ada_url.URL:
        """An address that may be asked for, by its form."""
        try:
            parsed = ada_url.URL(url)
        except ValueError:
            raise Refused("It is no address.") from None
        scheme = parsed.protocol.rstrip(":")
        if scheme not in _PORTS or not parsed.hostname or len(parsed.href) > _MAX_URL:
            raise Refused("It is no address of the web.")
        if _port(parsed) not in self._ports:
            raise Refused("Its port is not one of the web.")
        return parsed

    def _ask(
        self, url: ada_url.URL, deadline: Deadline, wants: Wants, enough: Enough
    ) -> Page | str:
        """The page at `url`, or where it redirects to."""
        host, port = url.hostname.strip("[]"), _port(url)
        told = {"http.request.method": "GET", "server.address": host, "server.port": port}
        with within("GET", CLIENT, told) as span:
            addresses = self._dialing.find(host, port, deadline)
            connection = self._connection(url, host, addresses, deadline)
            return self._talk(connection, url, deadline, wants, enough, span)

    def _talk(
        self,
        connection: _Plain | _Secure,
        url: ada_url.URL,
        deadline: Deadline,
        wants: Wants,
        enough: Enough,
        span: Span | None,
    ) -> Page | str:
        try:
            connection.request(
                "GET",
                f"{url.pathname}{url.search}",
                headers=self._headers | {"Host": url.host} | outgoing(),
                # Otherwise all of the body is read at once.
                preload_content=False,
            )
            response = connection.getresponse()
            if span is not None:
                span.attributes["http.response.status_code"] = response.status
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                # As headers come: bytes that should be ASCII, and often are UTF-8.
                place = location.encode("latin-1", "replace").decode("utf-8", "replace")
                return _joined(url, place)
            kind = response.headers.get("Content-Type", "")
            reads = response.status == 200 and wants(kind)
            body = self._body(response, deadline, enough) if reads else b""
            return Page(url.href, response.status, kind, body)
        except (HTTPException, HTTPError, OSError, ValueError) as error:
            deadline.check()
            raise Failed(f"{type(error).__name__}: {error}") from None
        finally:
            connection.close()

    def _connection(
        self, url: ada_url.URL, host: str, addresses: list[Address], deadline: Deadline
    ) -> _Plain | _Secure:
        """A connection that reaches these addresses, and in TLS means `host`."""
        port, seconds = _port(url), deadline.left_seconds

        def reach() -> socket.socket:
            return self._dialing.connect(addresses, port, deadline)

        if url.protocol == "https:":
            return _Secure(
                reach, host, port, timeout=seconds, ssl_context=self._tls, server_hostname=host
            )
        return _Plain(reach, host, port, timeout=seconds)

    def _body(self, response: BaseHTTPResponse, deadline: Deadline, enough: Enough) -> bytes:
        body = bytearray()
        while len(body) < self._size_bytes:
            # So much is unpacked and no more, however much a few bytes would become.
            chunk = response.read1(min(_CHUNK, self._size_bytes - len(body)), decode_content=True)
            deadline.check()  # what was cut looks like an end
            if not chunk:
                break
            body += chunk
            if enough(body):
                break
        return bytes(body)


def _joined(base: ada_url.URL, place: str) -> str:
    """Where a redirect leads, by the parser that will look at it again."""
    try:
        return str(ada_url.URL(place, base=base.href).href)
    except ValueError:
        raise Refused("It redirects to what is no address.") from None


def _port(url: ada_url.URL) -> int:
    return int(url.port) if url.port else _PORTS[url.protocol.rstrip(":")]
