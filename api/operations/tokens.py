"""The token of operators."""

from __future__ import annotations

import hmac


def is_token(given: str | None, token: str) -> bool:
    """Whether it is the token, told in the same time whatever was given."""
    return hmac.compare_digest((given or "").encode(), token.encode())
