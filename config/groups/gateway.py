"""The gateway: the nginx before the web servers, whose configuration `scripts/gateway` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from config import kinds
from config.declaring import integer, seconds, setting


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """The gateway: the nginx before the web servers, whose configuration `scripts/gateway` writes.
    No other process reads these."""

    gateway_redirect_servers: tuple[str, ...] = setting(
        ("127.0.0.1:8000",),
        kinds.places,
        "Processes that redirect, `host:port,…`.",
    )
    gateway_api_servers: tuple[str, ...] = setting(
        (), kinds.places, "Processes of the API, `host:port,…`; default: those that redirect."
    )
    gateway_certificates: Path = setting(
        Path("/etc/signpost/certificates"),
        kinds.folder,
        "Folder with a folder for each certificate, with `fullchain.pem` and `privkey.pem` in it. "
        "The names in the certificates are the hosts that are served.",
    )
    gateway_default_certificate: str | None = setting(
        None,
        kinds.matching(r"[A-Za-z0-9_*.-]+"),
        "Folder of the certificate that hosts get that are in none; default: they are refused.",
    )
    gateway_home: Path | None = setting(
        None,
        kinds.folder,
        "Where the gateway keeps its configuration, its logs and what switches its maintenance "
        "page; default: `SIGNPOST_HOME/gateway`.",
    )
    gateway_listen: tuple[str, ...] = setting(
        ("0.0.0.0",),  # nosec B104 # noqa: S104 - it is what the public reaches
        kinds.addresses,
        "Addresses that the gateway listens on; `0.0.0.0,::` for IPv6, too.",
    )
    gateway_http_port: int = integer(80, "Its port for http, which sends on to https.", 1, 65535)
    gateway_https_port: int = integer(443, "Its port for https.", 1, 65535)
    gateway_user: str | None = setting(
        None,
        kinds.matching(r"[A-Za-z0-9_.-]+"),
        "Account of nginx's workers where its master is root; default: the one nginx was built "
        "with.",
    )
    gateway_resolver: str | None = setting(
        None,
        kinds.matching(r"[A-Za-z0-9.:\[\]-]+"),
        "DNS server by which answers of authorities (OCSP) are fetched; default: none are.",
    )
    gateway_proxy_protocol_from: tuple[kinds.Network, ...] = setting(
        (),
        kinds.networks,
        "Addresses or CIDR blocks of balancers before the gateway, which then tell their visitors' "
        "addresses by the PROXY protocol.",
    )
    gateway_requests_per_second: int = integer(
        1_000,
        "Visits from one address (or one /64 of IPv6) before 429, the outer wall; 0: no bound.",
    )
    gateway_api_requests_per_second: int = integer(
        200, "The same for calls of the API; plans are what bounds a caller."
    )
    gateway_connections: int = integer(
        500, "Requests of one address that are under way at once, before 429; 0: no bound."
    )
    gateway_client_seconds: float = seconds(
        10.0, "How long a client may take for the header of a request, or pause within its body."
    )
    gateway_connect_seconds: float = seconds(
        2.0, "How long the gateway waits for a server to take a connection, before it asks another."
    )
