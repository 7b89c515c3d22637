"""People whom an issuer outside vouches for, and who of our users they are."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import NotFound
from api.core.evictions import Evictions
from api.core.principal import ROLES, SCOPES, Principal
from api.identity.members import MemberService
from api.identity.recent import USER_PREFIX
from api.identity.users import UserService
from api.oauth import subject_store
from api.oauth.lives import SKEW_SECONDS
from api.oauth.outside import OutsideTokens
from api.oauth.tokens import refused

log = logging.getLogger(__name__)

# Names the workspace, for people who are members of several.
WORKSPACE_CLAIM = "signpost_workspace"
_MAX_SUBJECT = 255
_MAX_TOKENS = 10_000
# How long another process may go on with what somebody could do while Redis is away.
_LIFE_SECONDS = 3.0


class OutsideVerifier:
    """Finds the user of a token from outside.

    A subject that was seen before is whom it was then. One that was not is the user with the same
    address, if the issuer has verified it, if it is not merely an inviter's word for who they are,
    and if nobody else of this issuer was that user before: an address may be given to somebody
    else, a subject never (OpenID Connect Core section 5.7).
    """

    def __init__(
        self,
        db: Database,
        tokens: OutsideTokens,
        users: UserService,
        members: MemberService,
        evictions: Evictions,
    ) -> None:
        self.tokens = tokens
        self._db = db
        self._users = users
        self._members = members
        self._known: OrderedDict[bytes, tuple[Principal, float, float]] = OrderedDict()
        self._lock = threading.Lock()
        evictions.on_evict(self._forget)

    def authenticate(self, credential: str) -> Principal:
        """The principal of a token.

        Raises:
            Unauthenticated: it does not count, or is no user's.
            Unavailable: the issuer's keys are not known and cannot be had.
        """
        digest = hashlib.sha256(credential.encode(errors="replace")).digest()
        known = self._known.get(digest)
        if known and time.monotonic() < known[1] and time.time() < known[2]:
            return known[0]
        claims = self.tokens.read(credential)
        principal = self._principal_of(claims)
        with self._lock:
            ends = float(claims["exp"]) + SKEW_SECONDS
            self._known[digest] = (principal, time.monotonic() + _LIFE_SECONDS, ends)
            self._known.move_to_end(digest)
            if len(self._known) > _MAX_TOKENS:
                self._known.popitem(last=False)
        return principal

    def _principal_of(self, claims: Mapping[str, Any]) -> Principal:
        subject = claims["sub"]
        if not 0 < len(subject) <= _MAX_SUBJECT or "\0" in subject:
            raise refused()
        user = self._user_of(subject, claims)
        if user.disabled_at is not None:
            raise refused()
        workspace, role = self._membership_of(user.id, claims.get(WORKSPACE_CLAIM))
        client, token = claims.get("azp", claims.get("client_id")), claims.get("jti")
        return Principal(
            workspace,
            0,
            ROLES[role] & _scopes_of(claims),
            user_id=user.id,
            client_id=client if isinstance(client, str) else self.tokens.audience,
            token_id=token if isinstance(token, str) else None,
            name=user.email,
        )

    def _user_of(self, subject: str, claims: Mapping[str, Any]) -> AnyRow:
        with self._db.read_directory() as session:
            known = subject_store.get_user_id(session, self.tokens.issuer, subject)
        try:
            if known is not None:
                return self._users.get_user(known)
            email = claims.get("email")
            if claims.get("email_verified") is not True or not isinstance(email, str):
                raise refused()
            user = self._users.get_user_by_email(email)
        except NotFound:
            raise refused() from None
        if user.invited:
            # Whoever invited could have made this user, of an address that is somebody else's, to
            # wait for them: with the password they would go on being that user.
            log.warning("user %s came by an invitation: see scripts/users vouch", user.id)
            raise refused()
        with self._db.write_directory() as session:
            is_theirs = subject_store.insert_subject(session, self.tokens.issuer, subject, user.id)
        if not is_theirs:
            raise refused()
        return user

    def _membership_of(self, user: int, wanted: Any) -> tuple[int, str]:
        found = [(id_, role) for id_, _, role in self._members.find_memberships(user)]
        if wanted is not None:
            found = [each for each in found if str(each[0]) == str(wanted)]
        if len(found) != 1:
            # Of several none is guessed.
            raise refused()
        return found[0]

    def _forget(self, keys: Sequence[str]) -> None:
        users = {key.removeprefix(USER_PREFIX) for key in keys if key.startswith(USER_PREFIX)}
        if not users:
            return
        with self._lock:
            for digest, (principal, _, _) in list(self._known.items()):
                if str(principal.user_id) in users:
                    del self._known[digest]


def _scopes_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """What the token is for, where it names any scope of ours; else all."""
    named = claims.get("scope", claims.get("scp", ""))
    words = named.split() if isinstance(named, str) else named if isinstance(named, list) else []
    return frozenset(word for word in words if word in SCOPES) or frozenset(SCOPES)
