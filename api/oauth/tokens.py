"""Access tokens: JWT as RFC 9068 profiles them, how they are written and how they are judged."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from joserfc.registry import HeaderParameter

from api.core.errors import Unauthenticated, Unavailable
from api.core.ids import MAX_ID
from api.core.principal import SCOPES, Principal
from api.oauth.keyfile import Keys
from api.oauth.keys import ALGORITHMS, Key, KeyRing
from api.oauth.lives import SKEW_SECONDS, TOKEN_SECONDS

# Our own are a fifth of it.
MAX_TOKEN_LENGTH = 4_096
_TYPES = ("at+jwt", "application/at+jwt")


class StrictRegistry(JWSRegistry):
    """Signatures over a header of `alg`, `typ` and `kid`, and nothing else.

    What would have a key come from the token itself (`jwk`, `jku`, `x5u`, `x5c`), and what asks
    for rules that we do not know (`crit`, RFC 7515 section 4.1.11), is refused for being there.
    """

    default_header_registry = {  # noqa: RUF012 - as the library declares it
        "alg": HeaderParameter("Algorithm", "str", True),
        "kid": HeaderParameter("Key ID", "str", True),
        "typ": HeaderParameter("Type", "str", True),
    }
    max_payload_length = MAX_TOKEN_LENGTH

    def get_alg(self, name: str) -> Any:
        """The algorithm, where it is one of those that are allowed.

        The library's own warns of `EdDSA`, which RFC 9864 would have called `Ed25519`: a name that
        clients do not know yet.
        """
        if self.allowed is None or name not in self.allowed:
            raise InvalidKeyIdError("another algorithm")
        return self.algorithms[name]


REGISTRY = StrictRegistry(algorithms=ALGORITHMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """What an access token says."""

    token_id: str
    client_id: str
    workspace_id: int
    scopes: frozenset[str]
    issued_at: int
    expires_at: int
    # Whose consent it comes from; none where a client acts for itself.
    user_id: int | None = None
    grant_id: int | None = None

    @property
    def subject(self) -> str:
        """`sub`: the user, or the client where there is none (RFC 9068 section 2.2)."""
        return self.client_id if self.user_id is None else str(self.user_id)

    def principal(self) -> Principal:
        """Whom it stands for."""
        return Principal(
            self.workspace_id,
            0,
            self.scopes,
            user_id=self.user_id,
            client_id=self.client_id,
            token_id=self.token_id,
        )


class Tokens:
    """Writes and reads the access tokens of this installation."""

    def __init__(self, keys: Keys, issuer: str) -> None:
        self._keys = keys
        self.issuer = issuer
        # The resource that our tokens are for (RFC 8707): the API, whatever its host.
        self.audience = f"{issuer}/api/v1"
        self._claims = JWTClaimsRegistry(
            leeway=SKEW_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": self.audience},
            exp={"essential": True},
            iat={"essential": True},
            jti={"essential": True},
            sub={"essential": True},
            client_id={"essential": True},
        )

    def ring(self) -> KeyRing:
        """The keys that count now; another object where they have changed."""
        return self._keys.ring()

    def write(self, token: AccessToken) -> str:
        """The token, signed.

        Raises:
            Unavailable: no key of the algorithm in use signs at present.
        """
        key = self._keys.ring().signing(self._keys.algorithm, time.time())
        if key is None:
            raise Unavailable(f"There is no {self._keys.algorithm} key that signs.")
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": token.subject,
            "client_id": token.client_id,
            "scope": " ".join(sorted(token.scopes)),
            "jti": token.token_id,
            "iat": token.issued_at,
            "exp": token.expires_at,
            "workspace_id": str(token.workspace_id),
        }
        if token.grant_id is not None:
            claims["grant_id"] = str(token.grant_id)
        header = {"alg": key.algorithm, "typ": "at+jwt", "kid": key.kid}
        return jwt.encode(header, claims, key.key, registry=REGISTRY)

    def read(self, text: str) -> AccessToken:
        """What a token says that we signed, and that counts now, were it not revoked.

        Raises:
            Unauthenticated: it does not; why is not told (RFC 6750 section 3.1).
        """
        if len(text) > MAX_TOKEN_LENGTH:
            raise refused()
        try:
            read = jwt.decode(text, self._key_of, registry=REGISTRY)
            if read.header["typ"].lower() not in _TYPES:
                raise ValueError("another kind of JWT")
            self._claims.validate(read.claims)
            return _token_of(read.claims)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            # All that a stranger can make of a token ends here.
            raise refused() from None

    def _key_of(self, signature: Any) -> Key:
        header = signature.headers()
        now = time.time()
        key = self._keys.ring().find(header["kid"], now)
        if key is None:
            # Another process may sign with a key that was made a moment ago.
            key = self._keys.ring(sure=True).find(header["kid"], now)
        # The algorithm is the key's, whatever the token says (RFC 8725 section 3.1).
        if key is None or key.algorithm != header["alg"]:
            raise InvalidKeyIdError("no such key")
        return key.key


def looks_like_token(credential: str) -> bool:
    """Whether a credential is a JWT, good or bad: three parts, the first a JSON object."""
    return credential.startswith("eyJ") and credential.count(".") == 2


def refused() -> Unauthenticated:
    """The answer to every token that does not count."""
    return Unauthenticated("The credential is not valid.", error="invalid_token")


def _token_of(claims: Mapping[str, Any]) -> AccessToken:
    subject, client = claims["sub"], claims["client_id"]
    if not isinstance(client, str) or claims["exp"] - claims["iat"] > TOKEN_SECONDS:
        raise ValueError("not a token of ours")
    return AccessToken(
        token_id=claims["jti"],
        client_id=client,
        workspace_id=_id(claims["workspace_id"]),
        scopes=frozenset(claims["scope"].split()) & SCOPES.keys(),
        issued_at=int(claims["iat"]),
        expires_at=int(claims["exp"]),
        user_id=None if subject == client else _id(subject),
        grant_id=_id(claims["grant_id"]) if "grant_id" in claims else None,
    )


def _id(text: Any) -> int:
    if not isinstance(text, str) or not text.isascii() or not text.isdigit():
        raise ValueError("not an id")
    number = int(text) if len(text) <= 19 else MAX_ID + 1
    if number > MAX_ID:
        raise ValueError("not an id")
    return number
