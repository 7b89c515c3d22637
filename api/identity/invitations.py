"""The rules of invitations: how somebody becomes a member."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import IntegrityError

from api.audit.service import AuditLog
from api.core.database.routing import Database, WriteSession
from api.core.database.sessions import AnyRow
from api.core.errors import Conflict, DomainError, Invalid, NotFound
from api.core.events import AuditEvent, Thing
from api.core.evictions import Evictions
from api.core.ids import new_id
from api.core.pagination import Cursors
from api.core.principal import ROLES, Principal
from api.identity import invitation_store, user_store
from api.identity.addresses import normalise_email
from api.identity.keys import digest_of, make_invitation_token
from api.identity.members import AlreadyMember
from api.identity.passwords import check_password, hash_of
from api.identity.recent import USER_PREFIX
from api.identity.service import require_scopes
from api.identity.users import EmailTaken, UserService

_DIRECTORY_SLOT = 0
LIFE = timedelta(days=7)
LONGEST_LIFE = timedelta(days=90)


class InvitationOver(DomainError):
    """The invitation was accepted, revoked, or has expired; which of them is not told."""

    status = 410
    code = "invitation-over"
    title = "The invitation can be used no more"


class InvitationPending(Conflict):
    """Two invited the same address at once."""

    code = "invitation-pending"
    title = "The address was invited just now"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Who became a member, of what, and as what."""

    user: AnyRow
    workspace_id: int
    workspace_name: str
    role: str


class InvitationService:
    """Invites people to workspaces; how the token reaches them is up to who invites."""

    def __init__(
        self,
        db: Database,
        evictions: Evictions | None,
        secret: bytes,
        users: UserService,
        audit: AuditLog,
    ) -> None:
        self._db = db
        self._evictions = evictions
        self._cursors = Cursors(secret, "invitations")
        self._users = users
        self._audit = audit

    def create_invitation(
        self,
        workspace: int,
        *,
        email: str,
        role: str,
        expires_at: datetime | None,
        invited_by: Principal,
    ) -> tuple[AnyRow, str]:
        """A new invitation, and its token, which can never be shown again. It takes the place of
        an open one for the same address.

        Raises:
            Invalid: no e-mail address, or not a time within the next 90 days.
            Forbidden: the role gives what `invited_by` lacks.
            AlreadyMember: somebody with this address is a member.
        """
        require_scopes(invited_by, sorted(ROLES[role]))
        address = normalise_email(email)
        if address is None:
            raise Invalid.field("/email", "Not an e-mail address.")
        now = datetime.now(UTC)
        until = expires_at or now + LIFE
        if not now < until <= now + LONGEST_LIFE:
            days = LONGEST_LIFE.days
            raise Invalid.field("/expires_at", f"Must be within the next {days} days.")
        token = make_invitation_token()
        try:
            with self._db.write_directory() as session:
                user = user_store.get_user_by_email(session, address)
                if user is not None and user_store.get_member(session, workspace, user.id):
                    raise AlreadyMember
                invitation_store.update_revoked_for(session, workspace, address)
                row = invitation_store.insert_invitation(
                    session,
                    workspace,
                    identifier=new_id(_DIRECTORY_SLOT),
                    email=address,
                    role=role,
                    digest=token.digest,
                    invited_by=invited_by.user_id,
                    expires_at=until,
                )
        except IntegrityError as error:
            if "uq_invitations_open" not in str(error.orig):
                raise
            raise InvitationPending from None
        return row, token.text

    def list_invitations(
        self, workspace: int, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[AnyRow], str | None]:
        """A page of invitations, newest first, and the cursor of the next."""
        question = ("invitations", workspace)
        before = self._cursors.read(cursor, question)[0] if cursor else None
        with self._db.read_directory() as session:
            rows = invitation_store.find_invitations(session, workspace, before, limit + 1)
        page = rows[:limit]
        more = len(rows) > limit
        return page, self._cursors.write(question, [page[-1].id]) if more else None

    def get_invitation(self, workspace: int, identifier: int) -> AnyRow:
        """One invitation.

        Raises:
            NotFound: the workspace has no such invitation.
        """
        with self._db.read_directory() as session:
            row = invitation_store.get_invitation(session, workspace, identifier)
        if row is None:
            raise NotFound("There is no such invitation.")
        return row

    def revoke_invitation(self, workspace: int, identifier: int) -> None:
        """Let an invitation be used no more; one that was accepted stays accepted.

        Raises:
            NotFound: the workspace has no such invitation.
        """
        self.get_invitation(workspace, identifier)
        with self._db.write_directory() as session:
            invitation_store.update_revoked(session, workspace, identifier)

    def accept_invitation(
        self, token: str, *, name: str | None, password: str, address: str
    ) -> Accepted:
        """Make the invited a member: a user who proves to be one, or a new one.

        Raises:
            NotFound: it is not a token.
            InvitationOver: it was used or revoked, or has expired.
            TooManyRequests: from `address` too much was tried.
            SignInRefused: there is a user with the address, and it is not their password.
            Invalid: a new user needs a name and a password that is not weak.
            AlreadyMember, EmailTaken: the user became a member, or a user, meanwhile.
        """
        self._users.count_try(address)
        with self._db.read_directory() as session:
            invitation = invitation_store.get_invitation_by_digest(session, digest_of(token))
            if invitation is None:
                raise NotFound("There is no such invitation.")
            known = user_store.get_user_by_email(session, invitation.email)
        if not _is_open(invitation):
            raise InvitationOver
        if known is not None:
            self._users.sign_in(invitation.email, password, address)
            user = self._join(invitation, known)
        else:
            if name is None:
                raise Invalid.field("/name", "Missing data for required field.")
            check_password(password, invitation.email)
            user = self._join_as_new(invitation, name, hash_of(password))
        self._audit.record(
            AuditEvent(
                "invitation.accept",
                Thing("user", str(user.id), user.email),
                invitation.workspace_id,
                target=Thing("invitation", str(invitation.id)),
                details={"role": invitation.role, "new_user": known is None},
            )
        )
        return Accepted(user, invitation.workspace_id, invitation.workspace_name, invitation.role)

    def _join(self, invitation: AnyRow, user: AnyRow) -> AnyRow:
        with self._db.write_directory() as session:
            _use_up(session, invitation)
            joined = user_store.insert_membership(
                session, invitation.workspace_id, user.id, invitation.role
            )
            if not joined:
                raise AlreadyMember
        if self._evictions is not None:
            self._evictions.publish([f"{USER_PREFIX}{user.id}"])
        return user

    def _join_as_new(self, invitation: AnyRow, name: str, password_hash: str) -> AnyRow:
        with self._db.write_directory() as session:
            _use_up(session, invitation)
            user = user_store.insert_user(
                session,
                new_id(_DIRECTORY_SLOT),
                email=invitation.email,
                name=name,
                password_hash=password_hash,
                invited=True,
            )
            if user is None:
                raise EmailTaken
            user_store.insert_membership(session, invitation.workspace_id, user.id, invitation.role)
        return user


def _use_up(session: WriteSession, invitation: AnyRow) -> None:
    """Two who accept at once wait for each other here, and one of them is late."""
    if not invitation_store.update_accepted(session, invitation.id):
        raise InvitationOver


def _is_open(invitation: AnyRow) -> bool:
    ended = invitation.accepted_at is not None or invitation.revoked_at is not None
    return not ended and invitation.expires_at > datetime.now(UTC)
