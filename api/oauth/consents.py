"""Consents, and all that comes of one: codes, refresh tokens and access tokens are one family."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from api.audit.service import AuditLog
from api.core.database.routing import Database, WriteSession
from api.core.database.sessions import AnyRow
from api.core.errors import DomainError
from api.core.events import NOBODY, AuditEvent, Thing
from api.core.ids import new_id
from api.identity.members import MemberService
from api.oauth import grant_store as store
from api.oauth.clients import REFRESH, Client, digest_of
from api.oauth.issuing import NothingGranted, TokenIssuer
from api.oauth.lives import CODE_SECONDS, REFRESH_SECONDS
from api.oauth.revocations import GRANT, Revocations

log = logging.getLogger(__name__)

_DIRECTORY_SLOT = 0


class GrantRefused(DomainError):
    """The code or the refresh token is unknown, has ended or was used."""

    code = "grant-refused"
    title = "The grant is not valid"


class Consents:
    """What people let clients do for them."""

    def __init__(
        self,
        db: Database,
        issuer: TokenIssuer,
        revocations: Revocations,
        members: MemberService,
        audit: AuditLog,
    ) -> None:
        self._db = db
        self._issuer = issuer
        self._revocations = revocations
        self._members = members
        self._audit = audit

    def write(
        self, session: WriteSession, client: Client, user: int, workspace: int, asked: set[str]
    ) -> int:
        """Write down that a member lets a client do what they may do of it; the consent's id.

        Raises:
            NothingGranted: they may do nothing of it there.
        """
        scopes = asked & client.scopes & self._members.scopes_of(user, workspace)
        if not scopes:
            raise NothingGranted
        return store.insert_grant(
            session,
            id=new_id(_DIRECTORY_SLOT),
            oauth_client_id=client.id,
            workspace_id=workspace,
            user_id=user,
            scopes=sorted(scopes),
        )

    def tell(self, client: Client, user: AnyRow, workspace: int) -> None:
        """Write to the audit log that a member consented."""
        self._audit.record(
            AuditEvent(
                "oauth_grant.create",
                Thing("user", str(user.id), user.email),
                workspace,
                target=Thing("oauth_client", str(client.id)),
                details={"client_id": client.client_id, "name": client.name},
            )
        )

    def give_code(
        self,
        client: Client,
        user: AnyRow,
        workspace: int,
        *,
        scopes: set[str],
        redirect_uri: str,
        code_challenge: str,
    ) -> str:
        """A code for a consent that was given just now (RFC 6749 section 4.1.2).

        Raises:
            NothingGranted: as for `write`.
        """
        code = secrets.token_urlsafe(32)
        with self._db.write_directory() as session:
            grant = self.write(session, client, user.id, workspace, scopes)
            store.insert_code(
                session,
                CODE_SECONDS,
                code_hash=digest_of(code),
                grant_id=grant,
                redirect_uri=redirect_uri,
                code_challenge=code_challenge,
            )
        self.tell(client, user, workspace)
        return code

    def find_code(self, client: Client, text: str) -> AnyRow | None:
        """A client's code that is still good. One that was used ends all that came of it."""
        with self._db.read_directory() as session:
            code = store.get_code(session, client.id, digest_of(text))
        if code is not None and code.used_at is not None:
            self.end(code.grant_id, "a code was used twice")
            return None
        return None if code is None or code.expired else code

    def redeem_code(self, client: Client, text: str, grant: int) -> dict[str, Any]:
        """Tokens for a code (RFC 6749 section 4.1.4).

        Raises:
            GrantRefused: somebody else was faster, which ends what they were given.
        """
        with self._db.write_directory() as session:
            used = store.use_code(session, digest_of(text))
            answer = None if used is None else self.answer(session, client, used)
        if answer is None:
            self.end(grant, "a code was used twice")
            raise GrantRefused
        return answer

    def find_refresh_token(self, client: Client, text: str) -> AnyRow | None:
        """A client's refresh token that is still good. One that was used before shows that two
        have it: it ends the family, whoever of them is the thief (RFC 9700 section 4.14)."""
        with self._db.read_directory() as session:
            token = store.get_refresh_token(session, digest_of(text))
        if token is None or token.client_id != client.client_id:
            return None
        if token.used_at is not None:
            self.end(token.grant_id, "a refresh token was used twice")
            return None
        return None if token.expired or token.revoked_at is not None else token

    def refresh(
        self, client: Client, text: str, grant: int, scopes: frozenset[str]
    ) -> dict[str, Any]:
        """New tokens for a refresh token, with all or some of its scopes (RFC 6749 section 6).

        Raises:
            GrantRefused: somebody else was faster, which ends the family.
        """
        with self._db.write_directory() as session:
            used = store.use_refresh_token(session, digest_of(text))
            answer = None if used is None else self.answer(session, client, used, scopes)
        if answer is None:
            self.end(grant, "a refresh token was used twice")
            raise GrantRefused
        return answer

    def answer(
        self,
        session: WriteSession,
        client: Client,
        grant_id: int,
        narrowed: frozenset[str] | None = None,
    ) -> dict[str, Any]:
        """The tokens that a consent gives now: what was consented to, of that what the client may
        still ask for, and of that what the member may still do.

        Raises:
            GrantRefused: the consent was revoked.
            NothingGranted: nothing is left of it.
        """
        grant = store.get_grant(session, grant_id)
        if grant is None:
            raise GrantRefused
        scopes = client.scopes & set(grant.scopes)
        scopes &= self._members.scopes_of(grant.user_id, grant.workspace_id)
        answer = self._issuer.give(
            session,
            client_id=client.client_id,
            workspace_id=grant.workspace_id,
            scopes=scopes if narrowed is None else scopes & narrowed,
            user_id=grant.user_id,
            grant_id=grant.id,
        )
        if client.check_grant_type(REFRESH):
            text = "sp_refresh_" + secrets.token_urlsafe(32)
            store.insert_refresh_token(session, digest_of(text), grant.id, REFRESH_SECONDS)
            answer["refresh_token"] = text
        return answer

    def end(self, grant_id: int, why: str = "") -> None:
        """End a consent, and with it every token that came of it."""
        with self._db.write_directory() as session:
            grant = store.get_grant(session, grant_id)
            if grant is None or not store.update_grant_revoked(session, grant_id):
                return
            row = self._revocations.revoke(session, GRANT, str(grant_id))
        self._revocations.tell([row])
        if why:
            log.warning("consent %s of user %s ended: %s", grant_id, grant.user_id, why)
            self._audit.record(
                AuditEvent(
                    "oauth_grant.end",
                    NOBODY,
                    grant.workspace_id,
                    target=Thing("user", str(grant.user_id)),
                    details={"reason": why},
                )
            )
