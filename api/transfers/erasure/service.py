"""The rules of erasing a workspace: who asks, what ends at once, and what is known of it then."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from api.core.database.routing import Database, WriteSession
from api.core.database.sessions import AnyRow
from api.core.errors import Conflict, Invalid, NotFound
from api.core.evictions import Evictions
from api.identity.recent import EVICTION_PREFIX as KEY_PREFIX
from api.identity.recent import USER_PREFIX
from api.oauth.revocations import CLIENT, Revocations
from api.targets.service import BlockedTargets
from api.transfers.erasure import store

__all__ = ["Erasure", "ErasureService", "WorkspaceErasing"]

# Deleted with the request itself; of each the column that others must be told of.
_AT_ONCE = (
    ("oauth_clients", "client_id"),
    ("invitations", "id"),
    ("memberships", "user_id"),
    ("api_keys", "id"),
)


class WorkspaceErasing(Conflict):
    """Somebody has asked for it already."""

    code = "workspace-erasing"
    title = "The workspace is being erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What is known of an erasure."""

    workspace_id: int
    asked_at: datetime
    finished_at: datetime | None
    # Rows by table.
    erased: Mapping[str, int]

    @classmethod
    def of(cls, row: AnyRow) -> Erasure:
        """As the directory has it."""
        erased = dict(sorted(row.erased.items()))
        return cls(
            workspace_id=row.workspace_id,
            asked_at=row.asked_at,
            finished_at=row.finished_at,
            erased=erased,
        )

    @property
    def state(self) -> str:
        """erasing or erased."""
        return "erasing" if self.finished_at is None else "erased"


class ErasureService:
    """Takes requests to erase workspaces, and tells what became of them."""

    def __init__(
        self,
        db: Database,
        evictions: Evictions,
        revocations: Revocations,
        blocked: BlockedTargets,
    ) -> None:
        self._db = db
        self._evictions = evictions
        self._revocations = revocations
        self._blocked = blocked

    def ask(self, workspace: int, name: str) -> tuple[Erasure, str]:
        """Erase a workspace, which `name` confirms; the token by which to ask what came of it.

        When this is answered no key and no token of the workspace counts any more, and its links
        lead nowhere: the rest is deleted by a worker.

        Raises:
            NotFound: there is no such workspace.
            Invalid: it has another name.
            WorkspaceErasing: somebody was faster.
        """
        token = secrets.token_urlsafe(32)
        try:
            with self._db.write_directory() as session:
                found = store.lock_workspace(session, workspace)
                if found is None:
                    raise NotFound("There is no such workspace.")
                if found.name != name:
                    raise Invalid.field("/name", "Not the name of this workspace.")
                store.insert_erasure(session, workspace, _digest_of(token))
                keys, revoked = self._shut(session, workspace)
                self._blocked.stop_links(session, workspace)
        except IntegrityError as error:
            raise WorkspaceErasing("It was asked for already.") from error
        self._evictions.publish(keys)
        self._revocations.tell(revoked)
        self._blocked.tell()
        return self.get_of(workspace), token

    def get(self, token: str) -> Erasure:
        """An erasure, by the token that whoever asked for it was given.

        Raises:
            NotFound: nobody was given this one.
        """
        with self._db.read_directory() as session:
            row = store.get_erasure(session, _digest_of(token))
        return _found(row)

    def get_of(self, workspace: int) -> Erasure:
        """The erasure of a workspace.

        Raises:
            NotFound: nobody asked for it.
        """
        with self._db.read_directory() as session:
            row = store.get_erasure_of(session, workspace)
        return _found(row)

    def _shut(self, session: WriteSession, workspace: int) -> tuple[list[str], Sequence[AnyRow]]:
        """Let nobody act for the workspace any more; whom to tell of it."""
        erased: Counter[str] = Counter()
        gone = {}
        for name, column in _AT_ONCE:
            table = store.DIRECTORY[name]
            gone[name] = store.delete_names(session, table, workspace, column)
            erased[name] = len(gone[name])
        store.add_erased(session, workspace, erased, None)
        clients = gone["oauth_clients"]
        revoked = [self._revocations.revoke(session, CLIENT, client) for client in clients]
        keys = [f"{KEY_PREFIX}{key}" for key in gone["api_keys"]]
        return keys + [f"{USER_PREFIX}{user}" for user in gone["memberships"]], revoked


def _digest_of(token: str) -> bytes:
    # As random as a key: nothing slower is needed.
    return hashlib.sha256(token.encode()).digest()


def _found(row: AnyRow | None) -> Erasure:
    if row is None:
        raise NotFound("There is no such erasure.")
    return Erasure.of(row)
