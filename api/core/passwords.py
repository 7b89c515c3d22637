"""Argon2id password hashes (RFC 9106), computed off the event loop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar, cast

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.profiles import RFC_9106_LOW_MEMORY

MAX_PASSWORD_LENGTH = 256

Result = TypeVar("Result")
_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def hash_password(password: str) -> str:
    """A salted hash in PHC form; takes tens of milliseconds on purpose."""
    return _off_loop(lambda: _hasher.hash(password))


def password_matches(password_hash: str, password: str) -> bool:
    """Whether `password` is the one that was hashed."""

    def verify() -> bool:
        try:
            return _hasher.verify(password_hash, password)
        except (Argon2Error, InvalidHashError):
            return False

    return _off_loop(verify)


def _off_loop(work: Callable[[], Result]) -> Result:
    """Run `work` in a real thread where greenlets share this one: it would stop them all."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return work()
    import gevent  # noqa: PLC0415 - only where gevent runs the process

    return cast(Result, gevent.get_hub().threadpool.apply(work))
