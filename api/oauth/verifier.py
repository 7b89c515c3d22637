"""Who calls with a token, found without a query."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict

from api.core.principal import Authenticator, Principal
from api.oauth.lives import SKEW_SECONDS
from api.oauth.outsiders import OutsideVerifier
from api.oauth.revocations import Revocations
from api.oauth.tokens import AccessToken, Tokens, looks_like_token, refused

_MAX_TOKENS = 10_000
# A key that is taken away takes its tokens along as soon as the file of keys is looked at again.
_KNOWN_SECONDS = 30.0


class TokenVerifier:
    """Judges access tokens. A signature is checked once for as long as a token is known; whether
    it has ended or was revoked is asked each time."""

    def __init__(self, tokens: Tokens, revocations: Revocations) -> None:
        self._tokens = tokens
        self._revocations = revocations
        self._known: OrderedDict[bytes, tuple[AccessToken, Principal, float]] = OrderedDict()
        self._lock = threading.Lock()

    def authenticate(self, credential: str) -> Principal:
        """The principal of an access token.

        Raises:
            Unauthenticated: it does not count, whyever.
            Unavailable: nobody can tell what is revoked.
        """
        return self._judge(credential)[1]

    def token_of(self, credential: str) -> AccessToken:
        """What an access token says.

        Raises:
            Unauthenticated, Unavailable: as for `authenticate`.
        """
        return self._judge(credential)[0]

    def _judge(self, credential: str) -> tuple[AccessToken, Principal]:
        digest = hashlib.sha256(credential.encode(errors="replace")).digest()
        found = self._known.get(digest)
        if found is None or time.monotonic() > found[2]:
            token = self._tokens.read(credential)
            found = (token, token.principal(), time.monotonic() + _KNOWN_SECONDS)
            self._remember(digest, found)
        token, principal, _ = found
        if token.expires_at + SKEW_SECONDS <= time.time() or self._revocations.covers(token):
            raise refused()
        return token, principal

    def _remember(self, digest: bytes, found: tuple[AccessToken, Principal, float]) -> None:
        with self._lock:
            self._known[digest] = found
            self._known.move_to_end(digest)
            if len(self._known) > _MAX_TOKENS:
                self._known.popitem(last=False)


def by_form(
    keys: Authenticator, tokens: TokenVerifier, outside: OutsideVerifier | None
) -> Authenticator:
    """Ask whose a credential is by its form: a JWT, which names its issuer, or an API key."""

    def authenticate(credential: str) -> Principal:
        if not looks_like_token(credential):
            return keys(credential)
        if outside is not None and outside.tokens.claims_to_come_from(credential):
            return outside.authenticate(credential)
        return tokens.authenticate(credential)

    return authenticate
