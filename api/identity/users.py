"""The rules of users: who they are, and how they prove it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from api.audit.service import AuditLog
from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import Conflict, DomainError, Invalid, NotFound
from api.core.events import AuditEvent, Change, Thing
from api.core.evictions import Evictions
from api.core.ids import new_id
from api.core.limits import AddressLimits, TooManyTries
from api.identity import invitation_store, user_store
from api.identity.addresses import normalise_email
from api.identity.passwords import check_password, hash_of, is_password
from api.identity.recent import USER_PREFIX
from config.masking import mask

log = logging.getLogger(__name__)

_DIRECTORY_SLOT = 0
# In so many of their workspaces, at most, is told of a user's signing in.
_TOLD_WORKSPACES = 50


class SignInRefused(DomainError):
    """The address and the password are not those of a user; which of them is not told."""

    status = 403
    code = "sign-in-refused"
    title = "The address or the password is wrong"


class EmailTaken(Conflict):
    """Somebody has the address."""

    code = "email-taken"
    title = "There is a user with this address"


class UserService:
    """Users of the installation. A user may be a member of many workspaces."""

    def __init__(
        self, db: Database, evictions: Evictions | None, limits: AddressLimits, audit: AuditLog
    ) -> None:
        self._db = db
        # Scripts without Redis tell nobody; processes find out within seconds.
        self._evictions = evictions
        self._limits = limits
        self._audit = audit

    def create_user(
        self,
        *,
        email: str,
        name: str,
        password: str | None,
        workspace: int | None = None,
        role: str = "viewer",
    ) -> AnyRow:
        """A new user, and a member of `workspace` if one is given; without a password only for who
        signs in elsewhere.

        Raises:
            Invalid: the address is none, or the password is too weak.
            EmailTaken: there is a user with this address.
        """
        address = _address(email)
        if password is not None:
            check_password(password, address)
        password_hash = None if password is None else hash_of(password)
        with self._db.write_directory() as session:
            user = user_store.insert_user(
                session,
                new_id(_DIRECTORY_SLOT),
                email=address,
                name=name,
                password_hash=password_hash,
            )
            if user is None:
                raise EmailTaken
            if workspace is not None:
                user_store.insert_membership(session, workspace, user.id, role)
        return user

    def get_user(self, user: int) -> AnyRow:
        """One user: id, email, name, times, and whether they have a password.

        Raises:
            NotFound: there is no such user.
        """
        with self._db.read_directory() as session:
            return _found(user_store.get_user(session, user))

    def get_user_by_email(self, email: str) -> AnyRow:
        """The user with an address.

        Raises:
            NotFound: there is none.
        """
        with self._db.read_directory() as session:
            return _found(user_store.get_user_by_email(session, normalise_email(email) or ""))

    def email_of(self, user: str) -> str | None:
        """The address of a user by the text of their id; None for nobody."""
        with self._db.read_directory() as session:
            row = user_store.get_user(session, int(user))
        return None if row is None else str(row.email)

    def find_users(self, after_id: int, limit: int) -> Sequence[AnyRow]:
        """Users of the installation after one of them, by id."""
        with self._db.read_directory() as session:
            return user_store.find_users(session, after_id, limit)

    def sign_in(self, email: str, password: str, address: str) -> AnyRow:
        """The user who has this address and this password. A refusal takes as long as an
        admission, and for somebody unknown as long as for a user.

        Raises:
            SignInRefused: there is no such user, or they may not sign in.
            TooManyRequests: from `address`, or on this account, it was tried too often.
        """
        account = normalise_email(email) or ""
        self._count_try(account, address)
        with self._db.read_directory() as session:
            user = user_store.get_user_by_email(session, account)
            known = 0 if user is None else user.id
            password_hash = user_store.get_password_hash(session, known)
            workspaces = user_store.find_workspaces(session, known, _TOLD_WORKSPACES)
        right = is_password(password_hash, password)
        event = AuditEvent("user.sign_in", address=address, target=_thing(user))
        if user is None or not right or user.disabled_at is not None:
            log.warning("a sign-in was refused: user %s from %s", known or "unknown", mask(address))
            reason = "unknown" if user is None else "disabled" if right else "password"
            self._tell(event, workspaces, action="user.sign_in_refused", details={"reason": reason})
            raise SignInRefused
        self._tell(event, workspaces, actor=event.target)
        return user

    def count_try(self, address: str) -> None:
        """Count a try of somebody who is not known yet.

        Raises:
            TooManyRequests: from `address` there were too many.
        """
        self._count_try(None, address)

    def change_user(
        self,
        user: int,
        current_password: str,
        address: str,
        *,
        name: str | None = None,
        password: str | None = None,
    ) -> AnyRow:
        """Change what is a user's own, for who knows the password. With a new password, sessions
        of browsers end; keys and tokens go on.

        Raises:
            Invalid: it is not the password, or the new one is too weak.
            TooManyRequests: it was tried too often.
        """
        with self._db.read_directory() as session:
            row = _found(user_store.get_user(session, user))
            password_hash = user_store.get_password_hash(session, user)
        self._count_try(row.email, address)
        if not is_password(password_hash, current_password):
            raise Invalid.field("/current_password", "Is not the password.")
        values: dict[str, Any] = {} if name is None else {"name": name}
        if password is not None:
            check_password(password, row.email)
            values |= {"password_hash": hash_of(password), "signed_out_at": datetime.now(UTC)}
        return self._update(user, values) if values else row

    def end_sessions(self, user: int) -> AnyRow:
        """Sign a user out of all browsers.

        Raises:
            NotFound: there is no such user.
        """
        return self._update(user, {"signed_out_at": datetime.now(UTC)})

    def set_password(self, user: int, password: str) -> AnyRow:
        """Give a user another password; an operator's way.

        Raises:
            NotFound: there is no such user.
            Invalid: the password is too weak.
        """
        check_password(password, self.get_user(user).email)
        now = datetime.now(UTC)
        return self._update(user, {"password_hash": hash_of(password), "signed_out_at": now})

    def vouch_for_user(self, user: int) -> AnyRow:
        """Say that an invited user is whose address they have; an operator's way.

        Raises:
            NotFound: there is no such user.
        """
        return self._update(user, {"invited": False})

    def disable_user(self, user: int) -> AnyRow:
        """Let a user do nothing any more: sessions, keys, tokens and open invitations end.

        Raises:
            NotFound: there is no such user.
        """
        now = datetime.now(UTC)
        changed = self._update(user, {"disabled_at": now, "signed_out_at": now})
        with self._db.write_directory() as session:
            invitation_store.update_revoked_by(session, user)
        return changed

    def enable_user(self, user: int) -> AnyRow:
        """Let a disabled user in again; their keys work again too.

        Raises:
            NotFound: there is no such user.
        """
        return self._update(user, {"disabled_at": None})

    def _update(self, user: int, values: dict[str, Any]) -> AnyRow:
        with self._db.write_directory() as session:
            changed = _found(user_store.update_user(session, user, values))
        if self._evictions is not None:
            self._evictions.publish([f"{USER_PREFIX}{user}"])
        return changed

    def _count_try(self, account: str | None, address: str) -> None:
        # Right ones too: who tries many at once would pass if only the outcome counted.
        try:
            self._limits.hit("sign-in", address)
            if account is not None:
                # Addresses of people are none of Redis' business.
                self._limits.hit("account", hashlib.sha256(account.encode()).hexdigest())
        except TooManyTries as refused:
            if refused.is_news:
                self._tell_of_limit(account or "", address)
            raise

    def _tell_of_limit(self, account: str, address: str) -> None:
        with self._db.read_directory() as session:
            user = user_store.get_user_by_email(session, account)
            known = 0 if user is None else user.id
            workspaces = user_store.find_workspaces(session, known, _TOLD_WORKSPACES)
        log.warning("sign-ins from %s are slowed down: user %s", mask(address), known or "unknown")
        event = AuditEvent("user.sign_in_limited", address=address, target=_thing(user))
        self._tell(event, workspaces)

    def _tell(self, event: AuditEvent, workspaces: Sequence[int], **changes: Any) -> None:
        """Write an event about a user to the log of each workspace of theirs; of the installation
        where they have none."""
        event = replace(event, **changes)
        told = [Change(event.action, event.target, each) for each in workspaces or (None,)]
        self._audit.record(event, told)


def _thing(user: AnyRow | None) -> Thing | None:
    return None if user is None else Thing("user", str(user.id), user.email)


def _address(text: str) -> str:
    address = normalise_email(text)
    if address is None:
        raise Invalid.field("/email", "Not an e-mail address.")
    return address


def _found(user: AnyRow | None) -> AnyRow:
    if user is None:
        raise NotFound("There is no such user.")
    return user
