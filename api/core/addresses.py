"""Which addresses are the public internet's, and which lead into somebody's own network."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import ada_url

Address = IPv4Address | IPv6Address

# What `ipaddress` of Python 3.11 takes for global, and is not for everybody.
_OTHERS_V4 = (
    IPv4Network("100.64.0.0/10"),  # shared address space (RFC 6598)
    IPv4Network("192.0.0.0/24"),  # protocol assignments (RFC 6890)
    IPv4Network("192.88.99.0/24"),  # 6to4 relays, deprecated (RFC 7526)
    IPv4Network("198.18.0.0/15"),  # benchmarking (RFC 2544)
    IPv4Network("240.0.0.0/4"),
)
_OTHERS_V6 = (
    IPv6Network("64:ff9b:1::/48"),  # local-use translation (RFC 8215)
    IPv6Network("100::/64"),  # discard (RFC 6666)
    IPv6Network("2001::/23"),  # protocol assignments, Teredo (RFC 4380) among them
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
    IPv6Network("5f00::/16"),  # segment routing (RFC 9602)
    IPv6Network("fec0::/10"),  # site-local, deprecated (RFC 3879)
)
# The internet of IPv6 is allotted from here (RFC 4291); all else is for special purposes.
_GLOBAL_V6 = IPv6Network("2000::/3")
# Those that carry an address of IPv4 in their last 32 bits: compatible (RFC 4291 section 2.5.5.1),
# mapped (2.5.5.2), translated (RFC 2765), NAT64 (RFC 6052).
_CARRIERS = tuple(
    IPv6Network(network)
    for network in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
_SIX_TO_FOUR = IPv6Network("2002::/16")
# The interface identifiers of ISATAP (RFC 5214 section 6.1).
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)

# Names of one's own machine, network or cloud (RFC 6761, 6762, 8375, ICANN's `.internal`), by
# their last labels.
_OWN_NAMES = frozenset(
    "localhost localdomain local internal intranet lan home corp home.arpa".split()
)


def is_public(address: Address) -> bool:
    """Whether an address, and what of IPv4 it carries, is one of the public internet."""
    if isinstance(address, IPv4Address):
        return _is_public_v4(address)
    carried = list(_carried(address))
    if any(not _is_public_v4(inner) for inner in carried):
        return False
    if any(address in network for network in _CARRIERS):
        # Only a gateway leads on, and to the address that was looked at.
        return True
    return (
        address in _GLOBAL_V6
        and not address.is_multicast
        and not any(address in network for network in _OTHERS_V6)
        # To Python, documentation and the like.
        and (address in _SIX_TO_FOUR or address.is_global)
    )


def leads_inside(host: str) -> bool:
    """Whether the host of an address, as a URL spells it, names one's own machine or network: a
    literal address in any spelling, or a name that the public DNS does not know. Asks no DNS."""
    name = host.strip("[]").rstrip(".").lower()
    literal = _literal(name)
    if literal is not None:
        return not is_public(literal)
    labels = name.split(".")
    # Names of one label are looked up in one's own domain.
    return len(labels) == 1 or any(".".join(labels[-n:]) in _OWN_NAMES for n in (1, 2))


def _literal(name: str) -> Address | None:
    """The address that a host is; also in decimal, octal and hex, and with parts left out, as
    browsers and the C library read them."""
    text = name.partition("%")[0]  # a zone, which no URL of the web has
    try:
        return ip_address(text)
    except ValueError:
        pass
    try:
        # Only for special schemes does the standard read the numbers in a host.
        return ip_address(ada_url.URL(f"http://{name}/").hostname)
    except ValueError:
        return None


def _is_public_v4(address: IPv4Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _OTHERS_V4)
    )


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    """The addresses of IPv4 that one of IPv6 leads to, by its form."""
    number = int(address)
    if any(address in network for network in _CARRIERS):
        yield IPv4Address(number & 0xFFFF_FFFF)
    if address in _SIX_TO_FOUR:
        yield IPv4Address(number >> 80 & 0xFFFF_FFFF)
    if number >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFF_FFFF)
