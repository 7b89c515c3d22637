"""The rules of workspaces and API keys."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
    UserNeeded,
)
from api.core.evictions import Evictions
from api.core.ids import new_id
from api.core.pagination import Cursors
from api.core.principal import ROLES, SCOPES, Principal
from api.identity import store, user_store
from api.identity.keys import digest_of, looks_like_key, make_key
from api.identity.recent import RecentKeys

log = logging.getLogger(__name__)

# `last_used_at` is told to the minute, so that a busy key costs one write a minute.
_USED_RESOLUTION = timedelta(minutes=1)
# Directory rows belong to no slot; their ids carry this one.
_DIRECTORY_SLOT = 0
_WORKSPACES_AT_ONCE = 1_000
# With a workspace's id: its plan has changed.
PLAN_PREFIX = "plan:"
MAX_WORKSPACES = 100


class TooManyWorkspaces(Conflict):
    """The user is a member of as many workspaces as one may be before making more."""

    code = "too-many-workspaces"
    title = "There are too many workspaces"


class IdentityService:
    """Workspaces, their keys, and who a credential stands for."""

    def __init__(self, db: Database, secret: bytes, evictions: Evictions | None = None) -> None:
        self._db = db
        self._cursors = Cursors(secret, "api-keys")
        # Scripts call nobody's processes, and none of them authenticates twice.
        self._recent = None if evictions is None else RecentKeys(evictions)
        self._evictions = evictions

    def authenticate(self, credential: str) -> Principal:
        """The principal of an API key.

        Raises:
            Unauthenticated: unknown, expired, revoked, or of a user who is no member any more;
                which of them is not told.
        """
        if not looks_like_key(credential):
            raise _refused()
        now = datetime.now(UTC)
        digest = digest_of(credential)
        known = self._recent.get(digest, now) if self._recent is not None else None
        return known or self._look_up(digest, now)

    def _look_up(self, digest: bytes, now: datetime) -> Principal:
        with self._db.read_directory_once() as connection:
            key = store.ask_key(connection, digest)
        if key is None or key.revoked_at is not None:
            raise _refused()
        if key.expires_at is not None and key.expires_at <= now:
            raise _refused()
        if key.user_id is not None and (key.role is None or key.disabled_at is not None):
            raise _refused()
        if key.last_used_at is None or key.last_used_at < now - _USED_RESOLUTION:
            self._note_use(key.id, now)
        found = _principal_of(key)
        if self._recent is not None:
            self._recent.put(digest, found, key.expires_at)
        return found

    def _note_use(self, key_id: int, now: datetime) -> None:
        try:
            with self._db.write_directory(noted=False) as session:
                store.update_key_used(session, key_id, now - _USED_RESOLUTION)
        except Unavailable:
            # Who can be known may read on while nothing can be written.
            log.debug("the use of key %s was not noted", key_id)

    def create_workspace(self, name: str, owner: int | None = None) -> AnyRow:
        """A new, empty workspace, of a user if there is one.

        Raises:
            TooManyWorkspaces: the user has very many.
        """
        with self._db.write_directory() as session:
            row = store.insert_workspace(session, new_id(_DIRECTORY_SLOT), name)
            if owner is not None:
                user_store.insert_membership(session, row.id, owner, "owner")
                had = user_store.find_workspaces(session, owner, MAX_WORKSPACES + 1)
                if len(had) > MAX_WORKSPACES:
                    raise TooManyWorkspaces(f"A user has at most {MAX_WORKSPACES} workspaces.")
        return row

    def create_own_workspace(
        self, caller: Principal, *, name: str, key_name: str | None = None
    ) -> tuple[AnyRow, str | None]:
        """A new workspace of the caller's user, and with `key_name` the text of a key for it.

        Raises:
            UserNeeded: the caller is no user's credential.
            TooManyWorkspaces: the user has very many.
        """
        if caller.user_id is None:
            raise UserNeeded
        row = self.create_workspace(name, caller.user_id)
        if key_name is None:
            return row, None
        scopes = sorted(caller.scopes)
        return row, self.create_key(row.id, name=key_name, scopes=scopes, granted_by=caller)[1]

    def has_workspaces(self) -> bool:
        """Whether the installation is in use."""
        with self._db.read_directory() as session:
            return store.count_workspaces(session) > 0

    def oldest_workspace(self) -> AnyRow:
        """The workspace that was made first.

        Raises:
            NotFound: there is none yet.
        """
        with self._db.read_directory() as session:
            row = store.get_oldest_workspace(session)
        if row is None:
            raise NotFound("There is no workspace: run scripts/bootstrap.")
        return row

    def get_workspace(self, workspace: int) -> AnyRow:
        """A workspace that exists.

        Raises:
            NotFound: it does not.
        """
        with self._db.read_directory() as session:
            row = store.get_workspace(session, workspace)
        if row is None:
            raise NotFound("There is no such workspace.")
        return row

    def update_workspace(self, workspace: int, changes: dict[str, Any]) -> AnyRow:
        """Change name or settings of a workspace."""
        if not changes:
            return self.get_workspace(workspace)
        with self._db.write_directory() as session:
            return store.update_workspace(session, workspace, changes)

    def plan_of(self, workspace: int) -> str | None:
        """The name of a workspace's plan; None where none was set."""
        with self._db.read_directory_once() as connection:
            return store.ask_plan(connection, workspace)

    def set_plan(self, workspace: int, plan: str) -> None:
        """Give a workspace a plan, for operators alone.

        Raises:
            NotFound: there is no such workspace.
        """
        self.get_workspace(workspace)
        with self._db.write_directory() as session:
            store.update_workspace(session, workspace, {"plan": plan})
        if self._evictions is not None:
            self._evictions.publish([f"{PLAN_PREFIX}{workspace}"])

    def stream_click_retentions(self) -> Iterator[Sequence[tuple[int, int | None]]]:
        """All workspaces, page by page, each with the days for which it keeps raw clicks; None
        where the installation's setting counts."""
        after = 0
        while True:
            with self._db.read_directory() as session:
                page = store.find_click_retentions(session, after, _WORKSPACES_AT_ONCE)
            if not page:
                return
            yield page
            after = page[-1][0]

    def create_key(
        self,
        workspace: int,
        *,
        name: str,
        scopes: Sequence[str] = tuple(SCOPES),
        expires_at: datetime | None = None,
        granted_by: Principal | None = None,
        user: int | None = None,
    ) -> tuple[AnyRow, str]:
        """A new key, and its text, which can never be shown again.

        It belongs to the user of `granted_by`, or to `user`, and then never gives more than that
        user's role gives; to the workspace itself where there is neither.

        Raises:
            Invalid: it would be expired at once.
            Forbidden: `granted_by` lacks a scope that the key would have.
        """
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise Invalid.field("/expires_at", "Must be in the future.")
        if granted_by is not None:
            require_scopes(granted_by, scopes)
            user = granted_by.user_id
        key = make_key()
        with self._db.write_directory() as session:
            row = store.insert_key(
                session,
                workspace,
                identifier=new_id(_DIRECTORY_SLOT),
                user=user,
                name=name,
                prefix=key.prefix,
                digest=key.digest,
                scopes=sorted(set(scopes)),
                expires_at=expires_at,
            )
        return row, key.text

    def list_keys(
        self, workspace: int, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[AnyRow], str | None]:
        """A page of keys, newest first, and the cursor of the next."""
        question = ("api-keys", workspace)
        before = self._cursors.read(cursor, question)[0] if cursor else None
        with self._db.read_directory() as session:
            rows = store.find_keys(session, workspace, before, limit + 1)
        page = rows[:limit]
        more = len(rows) > limit
        return page, self._cursors.write(question, [page[-1].id]) if more else None

    def get_key(self, workspace: int, identifier: int) -> AnyRow:
        """One key.

        Raises:
            NotFound: the workspace has no such key.
        """
        with self._db.read_directory() as session:
            row = store.get_key(session, workspace, identifier)
        if row is None:
            raise NotFound("There is no such API key.")
        return row

    def revoke_key(self, workspace: int, identifier: int) -> None:
        """Make a key useless from now on.

        Raises:
            NotFound: the workspace has no such key.
        """
        with self._db.write_directory() as session:
            if not store.update_key_revoked(session, workspace, identifier):
                raise NotFound("There is no such API key.")
        if self._recent is not None:
            self._recent.forget(identifier)


def require_scopes(granted_by: Principal, scopes: Iterable[str]) -> None:
    """Let nobody grant more than they have.

    Raises:
        Forbidden: `granted_by` lacks one of the scopes.
    """
    for scope in scopes:
        if scope not in granted_by.scopes:
            raise Forbidden(scope)


def _principal_of(key: Any) -> Principal:
    scopes = frozenset(key.scopes)
    if key.user_id is None:
        return Principal(key.workspace_id, key.id, scopes, name=key.name)
    allowed = scopes & ROLES[key.role]
    return Principal(key.workspace_id, key.id, allowed, key.user_id, name=key.email)


def _refused() -> Unauthenticated:
    return Unauthenticated("The credential is not valid.", error="invalid_token")
