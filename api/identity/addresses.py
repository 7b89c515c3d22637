"""E-mail addresses, as users are told apart by them."""

from __future__ import annotations

import re

MAX_LENGTH = 254
# A dot-atom and a host name (RFC 5321 section 4.1.2, without quoted parts and address literals).
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ADDRESS = re.compile(rf"(?=.{{3,{MAX_LENGTH}}}\Z)(?:{_ATOM}\.)*{_ATOM}@(?:{_LABEL}\.)*{_LABEL}")


def normalise_email(text: str) -> str | None:
    """The address in lower case; None for what is none.

    The part before the @ is in lower case too: no mail service that people use tells `Ann@` from
    `ann@`, and two accounts that differ in nothing else would be a trap.
    """
    address = text.strip()
    # Asked first: the lower case of the Kelvin sign is a k, and so somebody else's address.
    if not address.isascii():
        return None
    address = address.lower()
    return address if _ADDRESS.fullmatch(address) else None
