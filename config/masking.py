"""What is taken out of a text before it goes into a log or to somebody else.

What is secret or personal and can be told by its look: credentials, passwords in URLs and beside
their names, addresses of mail and of the network. Network addresses keep the part that is kept of
visitors, too (IPv4: 24 bits, IPv6: 48), so that a broken server among others can still be found.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address

MASK = "***"

# Told before anything is changed: most texts have none of it.
_SUSPECT = re.compile(
    r"(?i)sp_[a-z]+_|eyJ|://|@|\d\.\d|:[0-9a-f]*:|bearer|basic|digest|pass|secret|token|key|code|state"
    r"|authorization|cookie|credential|failing row"
)
# As `credential` and its kin are named in headers, forms, JSON and settings, to the name's end.
_NAMES = (
    r"(?:password|passwd|passphrase|secret|token|api[_-]?key|credential|code_verifier"
    r"|device_code|user_code|authorization|cookie)[\w-]*"
)
_NAMED = "pass secret token key credential code_ _code authorization cookie".split()
# Each with the words, in small letters, of which it needs one: to look for those takes a hundredth
# of the time, and the stack of an error is long.
_RULES: tuple[tuple[Collection[str], re.Pattern[str], str], ...] = (
    # What PostgreSQL tells of a row or a key that a constraint refuses; either may have lines.
    (("failing",), re.compile(r"(?ms)(Failing row contains )\(.*?\)(?=\.?$)"), rf"\g<1>({MASK})"),
    (
        ("key (",),
        re.compile(r"(?ms)((?<=Key )\([^)\n]*\)=)\(.*?\)(?=[^)\n]*\.?$)"),
        rf"\g<1>({MASK})",
    ),
    # Our keys, invitations, secrets of clients and refresh tokens: the kind stays.
    (("sp_",), re.compile(r"\b(sp_(?:live|invite|secret|refresh)_)[\w-]+"), rf"\g<1>{MASK}"),
    # A JWT (RFC 7519): base64url of `{"` is `eyJ`.
    (("eyj",), re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*){1,4}"), MASK),
    # RFC 3986 section 3.2.1: who asks a server, and with which password.
    (("://",), re.compile(r"(?<=://)[^/?#\s'\"]*@"), f"{MASK}@"),
    # A value that is named, in JSON, a form, a header or a dictionary's own words.
    (
        _NAMED,
        re.compile(
            rf"(?i)({_NAMES}\\?[\"']?\s*[:=]\s*)"
            r"(?:(?:bearer|basic|digest)\s+)?(?:\\?\"[^\"]*\"|'[^']*'|[^\s\"'&,;)}\]]+)"
        ),
        rf"\g<1>{MASK}",
    ),
    (
        ("bearer", "basic", "digest"),
        re.compile(r"(?i)\b(bearer|basic|digest)\s+(?!\*)[\w.~+/=-]{6,}"),
        rf"\g<1> {MASK}",
    ),
    # What an authorization server sends back through a browser (RFC 6749 section 4.1.2).
    (("=",), re.compile(r"(?<=[?&])(code|state)=[^&\s\"']+"), rf"\g<1>={MASK}"),
    (("@",), re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), f"{MASK}@{MASK}"),
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)")
# Of the internet's, of one's own networks and of a link: a time of day or a slice is no address.
_IPV6 = re.compile(r"(?i)(?<![\w:.])[23f][0-9a-f]{3}:[0-9a-f:.]*[0-9a-f:](?![\w:])")


def mask(text: str) -> str:
    """The text without what is secret or personal."""
    if not _SUSPECT.search(text):
        return text
    lowered = text.lower()
    for words, pattern, replacement in _RULES:
        if any(word in lowered for word in words):
            text = pattern.sub(replacement, text)
    return _IPV6.sub(_masked_address, _IPV4.sub(_masked_address, text))


def _masked_address(found: re.Match[str]) -> str:
    """The network of an address; what is none, or this very host, as it is."""
    try:
        address = ip_address(found[0])
    except ValueError:
        return found[0]
    if address.is_loopback or address.is_unspecified:
        return found[0]
    return network_of(address)


def network_of(address: IPv4Address | IPv6Address) -> str:
    """What may be told of an address."""
    if isinstance(address, IPv4Address):
        return f"{address.exploded.rpartition('.')[0]}.x"
    return ":".join(part.lstrip("0") or "0" for part in address.exploded.split(":")[:3]) + "::x"
