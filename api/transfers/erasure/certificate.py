"""The proof of an erasure: a JWS that anybody can check with the keys that are published."""

from __future__ import annotations

import time
from typing import Any

from joserfc import jwt

from api.core.errors import Unavailable
from api.oauth.keyfile import Keys
from api.oauth.tokens import REGISTRY
from api.transfers.erasure.service import Erasure
from api.transfers.erasure.sweep import SWEPT

TYPE = "erasure+jwt"


class Certificates:
    """Signs what is known of erasures, each time anew: a key that signed long ago is published no
    more, and a certificate that is asked for now can be checked now."""

    def __init__(self, keys: Keys, issuer: str) -> None:
        self._keys = keys
        self._issuer = issuer

    def write(self, erasure: Erasure) -> str | None:
        """The certificate of an erasure that is finished.

        Raises:
            Unavailable: no key signs at present.
        """
        if erasure.finished_at is None:
            return None
        key = self._keys.ring().signing(self._keys.algorithm, time.time())
        if key is None:
            raise Unavailable(f"There is no {self._keys.algorithm} key that signs.")
        header = {"alg": key.algorithm, "typ": TYPE, "kid": key.kid}
        return jwt.encode(header, self._claims(erasure), key.key, registry=REGISTRY)

    def _claims(self, erasure: Erasure) -> dict[str, Any]:
        assert erasure.finished_at is not None  # noqa: S101 - the caller looked
        return {
            "iss": self._issuer,
            "sub": f"workspace:{erasure.workspace_id}",
            "iat": int(time.time()),
            "asked_at": erasure.asked_at.isoformat(),
            "finished_at": erasure.finished_at.isoformat(),
            "erased": dict(erasure.erased),
            # The last look at each table, before it was finished.
            "found_after": dict.fromkeys(SWEPT, 0),
        }
