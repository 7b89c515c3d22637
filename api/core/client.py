"""The address and the scheme of a visitor, which only proxies that we trust may tell us.

`X-Forwarded-For` and `X-Forwarded-Proto` count, from `TRUSTED_PROXIES`. No other header does, from
nobody: proxies pass on what they do not set themselves, so an `X-Forwarded-Host` or a `Forwarded`
(RFC 7239) may be the visitor's own even where a proxy is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NO_PEER = "127.0.0.1"  # a unix socket has no peer address


def client_address(
    peer: str, forwarded_for: str, trusted: Sequence[IPv4Network | IPv6Network]
) -> str:
    """The rightmost address of the chain that is not a trusted proxy's.

    `peer` is the other end of the connection, `forwarded_for` the `X-Forwarded-For` header. Each
    proxy appends whom it heard from, so what stands left of the first untrusted address is only
    its claim.
    """
    address = peer or _NO_PEER
    for claim in reversed(forwarded_for.split(",")):
        if not _is_trusted(address, trusted):
            break
        candidate = _without_port(claim.strip())
        if _parsed(candidate) is None:
            break
        address = candidate
    return address


def is_trusted(peer: str, trusted: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether the other end of a connection is a proxy that we believe."""
    return _is_trusted(peer or _NO_PEER, trusted)


def forwarded_scheme(forwarded_proto: str) -> str | None:
    """What a trusted proxy's `X-Forwarded-Proto` says; None where it says nothing clear."""
    scheme = forwarded_proto.strip().lower()
    return scheme if scheme in ("http", "https") else None


def address_block(address: str) -> str:
    """What one visitor has at their disposal: an IPv4 address, or a whole /64 of IPv6."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, 64), strict=False))
    return address if parsed is None else str(parsed)


def _is_trusted(address: str, trusted: Sequence[IPv4Network | IPv6Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def _without_port(text: str) -> str:
    """`1.2.3.4:567` and `[2001:db8::1]:567` as some proxies write them."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, port = text.rpartition(":")
    return host if colon and port.isdigit() and ":" not in host else text
