"""Cursors: where the next page of a list begins, opaque and signed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import orjson
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode
from itsdangerous.signer import SigningAlgorithm

from api.core.errors import BadRequest

MAX_LIMIT = 200
DEFAULT_LIMIT = 50


class InvalidCursor(BadRequest):
    """The cursor was altered, or comes from another list."""

    code = "invalid-cursor"
    title = "The cursor is not valid for this list"


class Cursors:
    """Writes and reads the cursors of one kind of list.

    A cursor holds the sort key of the last row seen, so that rows inserted meanwhile neither
    repeat nor hide others, and a digest of the question, so that it continues only that question.
    """

    def __init__(self, secret: bytes, purpose: str) -> None:
        # The key of this kind of list is derived once, and not for each cursor.
        key = hmac.digest(secret, f"cursor:{purpose}".encode(), "sha256")
        self._signer = Signer(key, key_derivation="none", algorithm=_Sha256())

    def write(self, question: Sequence[Any], position: Sequence[Any]) -> str:
        """The cursor after `position` in the answer to `question`."""
        content = orjson.dumps([_digest(question), *position])
        return self._signer.sign(base64_encode(content)).decode()

    def read(self, cursor: str, question: Sequence[Any]) -> list[Any]:
        """The position that `write` was given.

        Raises:
            InvalidCursor: it was not written by us, or for another question.
        """
        try:
            content = orjson.loads(base64_decode(self._signer.unsign(cursor)))
        except (BadData, UnicodeEncodeError):  # half of a character is no text at all
            raise InvalidCursor from None
        if content[0] != _digest(question):
            raise InvalidCursor("The cursor belongs to a list with other filters or another order.")
        return list(content[1:])


class _Sha256(SigningAlgorithm):
    """HMAC with SHA-256, in one call."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")


def _digest(question: Sequence[Any]) -> str:
    return hashlib.sha256(orjson.dumps(question, default=str)).hexdigest()[:16]
