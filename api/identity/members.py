"""The rules of members: who may do what in a workspace."""

from __future__ import annotations

from collections.abc import Sequence

from api.core.database.routing import Database, WriteSession
from api.core.database.sessions import AnyRow
from api.core.errors import Conflict, NotFound
from api.core.evictions import Evictions
from api.core.pagination import Cursors
from api.core.principal import ROLES, Principal
from api.identity import invitation_store, store, user_store
from api.identity.recent import USER_PREFIX
from api.identity.service import MAX_WORKSPACES, require_scopes

_NOTHING: frozenset[str] = frozenset()


class LastOwner(Conflict):
    """Without this one nobody could manage the workspace."""

    code = "last-owner"
    title = "A workspace needs an owner"


class AlreadyMember(Conflict):
    """The user is in the workspace."""

    code = "already-member"
    title = "The user is a member already"


class MemberService:
    """Members of workspaces, and what their roles give them."""

    def __init__(self, db: Database, evictions: Evictions | None, secret: bytes) -> None:
        self._db = db
        self._evictions = evictions
        self._cursors = Cursors(secret, "members")

    def scopes_of(self, user: int, workspace: int) -> frozenset[str]:
        """What a user may do in a workspace now; nothing without a role there, or disabled.

        Processes that remember it are told of changes by evictions of `USER_PREFIX` and the id.
        """
        with self._db.read_directory_once() as connection:
            role = user_store.ask_active_role(connection, workspace, user)
        return _NOTHING if role is None else ROLES[role]

    def find_memberships(self, user: int) -> list[tuple[int, str, str]]:
        """The workspaces of a user: id, name and role of each."""
        with self._db.read_directory() as session:
            rows = user_store.find_memberships(session, user, 2 * MAX_WORKSPACES)
        return [(row.workspace_id, row.name, row.role) for row in rows]

    def add_member(self, workspace: int, user: int, role: str) -> None:
        """Make a user a member.

        Raises:
            AlreadyMember: they are one, whatever their role.
        """
        with self._db.write_directory() as session:
            if not user_store.insert_membership(session, workspace, user, role):
                raise AlreadyMember
        self._changed(user)

    def list_members(
        self, workspace: int, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[AnyRow], str | None]:
        """A page of members, by the age of the user, and the cursor of the next."""
        question = ("members", workspace)
        after = self._cursors.read(cursor, question)[0] if cursor else 0
        with self._db.read_directory() as session:
            rows = user_store.find_members(session, workspace, after, limit + 1)
        page = rows[:limit]
        more = len(rows) > limit
        return page, self._cursors.write(question, [page[-1].user_id]) if more else None

    def get_member(self, workspace: int, user: int) -> AnyRow:
        """One member.

        Raises:
            NotFound: the workspace has no such member.
        """
        with self._db.read_directory() as session:
            return _found(user_store.get_member(session, workspace, user))

    def change_role(self, workspace: int, user: int, role: str, granted_by: Principal) -> AnyRow:
        """Give a member another role; at once for their keys and tokens too.

        Raises:
            NotFound: the workspace has no such member.
            Forbidden: the role gives what `granted_by` lacks.
            LastOwner: nobody else is an owner.
        """
        require_scopes(granted_by, sorted(ROLES[role]))
        with self._db.write_directory() as session:
            if role != "owner":
                _leave_an_owner(session, workspace, user)
            if not user_store.update_role(session, workspace, user, role):
                raise _no_such_member()
            if role != "owner":
                invitation_store.update_revoked_by(session, user, workspace)
            member = _found(user_store.get_member(session, workspace, user))
        self._changed(user)
        return member

    def remove_member(self, workspace: int, user: int) -> None:
        """End a membership, and with it the user's keys and open invitations for the workspace.

        Raises:
            NotFound: the workspace has no such member.
            LastOwner: nobody else is an owner.
        """
        with self._db.write_directory() as session:
            _leave_an_owner(session, workspace, user)
            if not user_store.delete_membership(session, workspace, user):
                raise _no_such_member()
            store.update_keys_revoked(session, workspace, user)
            invitation_store.update_revoked_by(session, user, workspace)
        self._changed(user)

    def _changed(self, user: int) -> None:
        if self._evictions is not None:
            self._evictions.publish([f"{USER_PREFIX}{user}"])


def _leave_an_owner(session: WriteSession, workspace: int, user: int) -> None:
    if list(user_store.find_active_owners(session, workspace)) == [user]:
        raise LastOwner("Make somebody else an owner first.")


def _found(member: AnyRow | None) -> AnyRow:
    if member is None:
        raise _no_such_member()
    return member


def _no_such_member() -> NotFound:
    return NotFound("There is no such member.")
