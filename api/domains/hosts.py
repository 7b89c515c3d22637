"""Host names as they come in requests, addresses and forms, brought to one spelling."""

from __future__ import annotations

import re

import ada_url

MAX_LENGTH = 253

# What a URL would read as the end of its host, or leave out.
_NO_HOST = re.compile(r"[/?#@\\ \t\r\n]")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")


def is_host_name(host: str) -> bool:
    """Whether a normalised host can be looked up in the DNS: not every host of a URL can, nor can
    an address of IPv6."""
    return _NAME.fullmatch(host) is not None


def normalise_host(text: str) -> str | None:
    """`text` as a lower-case ASCII host name without port and trailing dot; None if it is none.

    International names become punycode by the WHATWG rules, as browsers send them.
    """
    if not text or _NO_HOST.search(text):
        return None
    try:
        host = ada_url.URL(f"http://{text}/").hostname
    except ValueError:
        return None
    host = host.strip("[]").rstrip(".").lower()
    return host if 0 < len(host) <= MAX_LENGTH else None
