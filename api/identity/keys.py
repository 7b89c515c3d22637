"""API keys and invitation tokens: how they are made, recognised and kept."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

PREFIX = "sp_live_"
INVITATION_PREFIX = "sp_invite_"
_VISIBLE = len(PREFIX) + 6
_SHAPE = re.compile(r"sp_live_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key, or a token, just made: the text that is shown once, and what is kept of it."""

    text: str
    prefix: str
    digest: bytes


def make_key() -> NewKey:
    """A key with 256 random bits."""
    return _make(PREFIX)


def make_invitation_token() -> NewKey:
    """The token of an invitation, as random as a key."""
    return _make(INVITATION_PREFIX)


def digest_of(text: str) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(text.encode()).digest()


def looks_like_key(text: str) -> bool:
    """Whether `text` can be a key at all; what cannot is refused without a query."""
    return _SHAPE.fullmatch(text) is not None


def _make(prefix: str) -> NewKey:
    text = prefix + secrets.token_urlsafe(32)
    return NewKey(text=text, prefix=text[:_VISIBLE], digest=digest_of(text))
