"""Who calls with a token, found without a query."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from typing import NamedTuple

from api.core.principal import Authenticator, Principal
from api.oauth.keys import KeyRing
from api.oauth.lives import SKEW_SECONDS
from api.oauth.outsiders import OutsideVerifier
from api.oauth.revocations import Revocations
from api.oauth.tokens import AccessToken, Tokens, looks_like_token, refused

_MAX_TOKENS = 10_000


class _Known(NamedTuple):
    token: AccessToken
    principal: Principal
    # With which the signature was checked: another one may not have the key any more.
    ring: KeyRing


class TokenVerifier:
    """Judges access tokens. A signature is checked once for as long as a token is known; whether
    it has ended or was revoked is asked each time."""

    def __init__(self, tokens: Tokens, revocations: Revocations) -> None:
        self._tokens = tokens
        self._revocations = revocations
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def authenticate(self, credential: str) -> Principal:
        """The principal of an access token.

        Raises:
            Unauthenticated: it does not count, whyever.
            Unavailable: nobody can tell what is revoked.
        """
        return self._judge(credential).principal

    def token_of(self, credential: str) -> AccessToken:
        """What an access token says.

        Raises:
            Unauthenticated, Unavailable: as for `authenticate`.
        """
        return self._judge(credential).token

    def _judge(self, credential: str) -> _Known:
        digest = hashlib.sha256(credential.encode(errors="replace")).digest()
        ring = self._tokens.ring()
        found = self._known.get(digest)
        if found is None or found.ring is not ring:
            token = self._tokens.read(credential)
            found = _Known(token, token.principal(), ring)
            self._remember(digest, found)
        token = found.token
        if token.expires_at + SKEW_SECONDS <= time.time() or self._revocations.covers(token):
            raise refused()
        return found

    def _remember(self, digest: bytes, found: _Known) -> None:
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
