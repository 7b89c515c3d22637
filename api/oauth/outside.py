"""An issuer outside that we believe: its metadata, its keys and what its tokens say (OpenID Connect
Core 1.0 and Discovery 1.0)."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import urllib3
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import Key, KeySet
from joserfc.jwt import JWTClaimsRegistry
from joserfc.registry import HeaderParameter

from api.core.dependencies import dependencies
from api.core.errors import Unavailable
from api.oauth.lives import SKEW_SECONDS
from api.oauth.tokens import StrictRegistry, refused
from config import kinds

MAX_TOKEN_LENGTH = 8_000
# No symmetric one: its key would be a secret of ours that the issuer shows to others.
_ALGORITHMS = tuple("RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519".split())
# Not those that are for something else, such as logging out (RFC 8725 section 3.11).
_TYPES = (None, "jwt", "at+jwt", "application/at+jwt")
_FRESH_SECONDS = 3_600.0
# How often, at most, a token with an unknown key makes us ask; and who does not answer is asked.
_RATE_SECONDS = 15.0
_TIMEOUT = urllib3.Timeout(connect=3.0, read=5.0)
_MAX_BYTES = 512 * 1024

_NO_KEYS = (
    urllib3.exceptions.HTTPError,
    JoseError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)


class _Registry(StrictRegistry):
    """Here a key may go without a name, and a certificate's thumbprint is only a hint."""

    default_header_registry = {  # noqa: RUF012 - as the library declares it
        "alg": HeaderParameter("Algorithm", "str", True),
        "kid": HeaderParameter("Key ID", "str"),
        "typ": HeaderParameter("Type", "str"),
        "x5t": HeaderParameter("Thumbprint", "str"),
        "x5t#S256": HeaderParameter("Thumbprint", "str"),
    }
    max_payload_length = MAX_TOKEN_LENGTH


_REGISTRY = _Registry(algorithms=_ALGORITHMS)


class IssuerKeys:
    """The public keys of an issuer, fetched when they are needed, and kept for an hour."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)
        self._keys: KeySet | None = None
        self._fetched = self._tried = float("-inf")
        self._found = dependencies.of("issuer", issuer)
        self._lock = threading.Lock()

    def find(self, kid: str | None) -> Key:
        """The key of that name; the only one for a token that names none.

        Raises:
            InvalidKeyIdError: the issuer has no such key.
            Unavailable: it was never heard of, and does not answer.
        """
        if self._keys is None or time.monotonic() - self._fetched > _FRESH_SECONDS:
            self._refresh()
        found = self._look(kid)
        if found is None:
            self._refresh()  # it may have new keys
            found = self._look(kid)
        if found is None:
            raise InvalidKeyIdError("no such key")
        return found

    def _look(self, kid: str | None) -> Key | None:
        if self._keys is None:
            raise Unavailable("The issuer of the token does not answer.")
        keys = [key for key in self._keys.keys if key.get("use") in (None, "sig")]
        named = keys if kid is None else [key for key in keys if key.get("kid") == kid]
        return named[0] if len(named) == 1 else None

    def _refresh(self) -> None:
        """Ask for the keys, unless somebody did a moment ago."""
        with self._lock:
            if time.monotonic() - self._tried < _RATE_SECONDS:
                return
            self._tried = time.monotonic()
            try:
                self._keys = KeySet.import_key_set(self._fetch_keys())
                self._fetched = time.monotonic()
            except _NO_KEYS as error:
                # What was fetched before goes on.
                self._found.failed(error)
            else:
                self._found.answered()

    def _fetch_keys(self) -> Any:
        about = self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if about["issuer"] != self._issuer:  # Discovery section 4.3
            raise ValueError("its metadata is that of another issuer")
        return self._fetch(kinds.issuer(about["jwks_uri"]))

    def _fetch(self, address: str) -> dict[str, Any]:
        answer = self._http.request("GET", address, redirect=False, preload_content=False)
        try:
            body = answer.read(_MAX_BYTES + 1, decode_content=True)
        finally:
            answer.release_conn()
        if answer.status != 200 or len(body) > _MAX_BYTES:
            raise ValueError(f"{address} answers {answer.status} with {len(body)} bytes")
        content = json.loads(body)
        if not isinstance(content, dict):
            raise ValueError(f"{address} gives no JSON object")
        return content


class OutsideTokens:
    """Reads the tokens of an issuer outside."""

    def __init__(self, issuer: str, audience: str) -> None:
        self.issuer = issuer
        self.audience = audience
        self._keys = IssuerKeys(issuer)
        self._claims = JWTClaimsRegistry(
            leeway=SKEW_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    def claims_to_come_from(self, text: str) -> bool:
        """Whether a token says that it is this issuer's; nothing is believed yet."""
        return bool(_claimed_issuer(text) == self.issuer)

    def read(self, text: str) -> Mapping[str, Any]:
        """The claims of a token that counts now.

        Raises:
            Unauthenticated: it does not; why is not told.
            Unavailable: the issuer's keys are not known and cannot be had.
        """
        if len(text) > MAX_TOKEN_LENGTH:
            raise refused()
        try:
            read = jwt.decode(text, self._key_of, registry=_REGISTRY)
            kind = read.header.get("typ")
            if (kind and kind.lower()) not in _TYPES:
                raise ValueError("another kind of JWT")
            self._claims.validate(read.claims)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise refused() from None
        return read.claims

    def _key_of(self, signature: Any) -> Key:
        return self._keys.find(signature.headers().get("kid"))


def _claimed_issuer(text: str) -> Any:
    if len(text) > MAX_TOKEN_LENGTH:
        return None
    try:
        part = text.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return claims.get("iss")
    except (ValueError, IndexError, AttributeError, RecursionError):
        return None
