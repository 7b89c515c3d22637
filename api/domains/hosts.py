"""Host names as they come in requests, addresses and forms, brought to one spelling."""

from __future__ import annotations

import ada_url

MAX_LENGTH = 253


def normalise_host(text: str) -> str | None:
    """`text` as a lower-case ASCII host name without port and trailing dot; None if it is none.

    International names become punycode by the WHATWG rules, as browsers send them.
    """
    if not text or any(character in text for character in "/?#@\\ \t\r\n"):
        return None
    try:
        host = ada_url.URL(f"http://{text}/").hostname
    except ValueError:
        return None
    host = host.strip("[]").rstrip(".").lower()
    return host if 0 < len(host) <= MAX_LENGTH else None
