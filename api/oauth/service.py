"""The rules of OAuth clients: who registers them, with what they may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.core.database.routing import Database
from api.core.database.sessions import AnyRow
from api.core.errors import Conflict, Forbidden, Invalid, NotFound
from api.core.ids import new_id
from api.core.pagination import Cursors
from api.core.principal import Principal
from api.oauth import store
from api.oauth.clients import (
    CODE,
    CREDENTIALS,
    DEVICE,
    REFRESH,
    Client,
    client_values,
    make_secret,
    normalised,
    wrong_redirect_uri,
)
from api.oauth.revocations import CLIENT, Revocations

# Directory rows belong to no slot; their ids carry this one.
_DIRECTORY_SLOT = 0


class PublicClient(Conflict):
    """The client has no secret, as it could keep none."""

    code = "public-client"
    title = "A public client has no secret"


class OAuthClients:
    """The clients of workspaces."""

    def __init__(self, db: Database, secret: bytes, revocations: Revocations) -> None:
        self._db = db
        self._cursors = Cursors(secret, "oauth-clients")
        self._revocations = revocations

    def named(self, client_id: str) -> Client | None:
        """The client that calls itself so."""
        with self._db.read_directory() as session:
            row = store.get_client_by_name(session, client_id)
        return None if row is None else Client(row)

    def name_of(self, client_id: str) -> str | None:
        """By which name people know the client that calls itself so."""
        client = self.named(client_id)
        return None if client is None else client.name

    def create_client(
        self, workspace: int, *, client_type: str, granted_by: Principal | None = None, **given: Any
    ) -> tuple[AnyRow, str | None]:
        """A new client, and its secret where it has one, which can never be shown again.

        Raises:
            Invalid: what it wants does not go together.
            Forbidden: `granted_by` lacks a scope that the client could ask for.
        """
        secret = make_secret() if client_type == "confidential" else None
        values = client_values(secret, **given)
        _check(values, confidential=secret is not None)
        _check_granted(values["scopes"], granted_by)
        with self._db.write_directory() as session:
            row = store.insert_client(session, workspace, id=new_id(_DIRECTORY_SLOT), **values)
        return row, secret.text if secret else None

    def list_clients(
        self, workspace: int, *, limit: int, cursor: str | None
    ) -> tuple[Sequence[AnyRow], str | None]:
        """A page of clients, newest first, and the cursor of the next."""
        question = ("oauth-clients", workspace)
        before = self._cursors.read(cursor, question)[0] if cursor else None
        with self._db.read_directory() as session:
            rows = store.find_clients(session, workspace, before, limit + 1)
        page = rows[:limit]
        more = len(rows) > limit
        return page, self._cursors.write(question, [page[-1].id]) if more else None

    def get_client(self, workspace: int, identifier: int) -> AnyRow:
        """One client.

        Raises:
            NotFound: the workspace has no such client.
        """
        with self._db.read_directory() as session:
            return _found(store.get_client(session, workspace, identifier))

    def update_client(
        self, workspace: int, identifier: int, changes: dict[str, Any], granted_by: Principal
    ) -> AnyRow:
        """Change a client. Tokens that may do what it may no longer end at once.

        Raises:
            NotFound, Invalid, Forbidden: as for the others.
        """
        revoked: list[AnyRow] = []
        with self._db.write_directory() as session:
            before = _found(store.get_client(session, workspace, identifier))
            if not changes:
                return before
            _check(before._asdict() | changes, confidential=before.confidential)
            _check_granted(_gained(before, changes), granted_by)
            changes = normalised(changes)
            row = _found(store.update_client(session, workspace, identifier, changes))
            if not set(before.scopes) <= set(row.scopes):
                revoked.append(self._revocations.revoke(session, CLIENT, row.client_id))
        if revoked:
            self._revocations.tell(revoked)
        return row

    def renew_secret(
        self, workspace: int, identifier: int, granted_by: Principal
    ) -> tuple[AnyRow, str]:
        """A new secret in the place of the old one, which counts no more.

        Raises:
            NotFound: the workspace has no such client.
            PublicClient: it has none.
            Forbidden: whoever has the secret has scopes that `granted_by` lacks.
        """
        secret = make_secret()
        with self._db.write_directory() as session:
            row = _found(store.get_client(session, workspace, identifier))
            if not row.confidential:
                raise PublicClient
            _check_granted(row.scopes, granted_by)
            changes = {"secret_hash": secret.digest}
            row = _found(store.update_client(session, workspace, identifier, changes))
        return row, secret.text

    def delete_client(self, workspace: int, identifier: int) -> None:
        """Delete a client, and end every token that it was given.

        Raises:
            NotFound: the workspace has no such client.
        """
        with self._db.write_directory() as session:
            client_id = store.delete_client(session, workspace, identifier)
            if client_id is None:
                raise _unknown()
            revoked = self._revocations.revoke(session, CLIENT, client_id)
        self._revocations.tell([revoked])


def _check(values: dict[str, Any], *, confidential: bool) -> None:
    grants, uris = values["grant_types"], values["redirect_uris"]
    for index, uri in enumerate(uris):
        wrong = wrong_redirect_uri(uri)
        if wrong:
            raise Invalid.field(f"/redirect_uris/{index}", wrong)
    if CODE in grants and not uris:
        raise Invalid.field("/redirect_uris", "Needed for authorization_code.")
    if CREDENTIALS in grants and not confidential:
        raise Invalid.field("/grant_types", "client_credentials is for confidential clients.")
    if REFRESH in grants and not {CODE, DEVICE} & set(grants):
        raise Invalid.field("/grant_types", "refresh_token goes with a grant by a person.")


def _check_granted(scopes: Sequence[str] | set[str], granted_by: Principal | None) -> None:
    for scope in sorted(scopes):
        if granted_by is not None and scope not in granted_by.scopes:
            raise Forbidden(scope)


def _gained(before: AnyRow, changes: dict[str, Any]) -> set[str]:
    """The scopes that a change gives somebody: new ones; all, where tokens are sent elsewhere or
    are had in another way."""
    scopes = set(changes.get("scopes", before.scopes))
    if changes.keys() & {"redirect_uris", "grant_types"}:
        return scopes
    return scopes - set(before.scopes)


def _found(row: AnyRow | None) -> AnyRow:
    if row is None:
        raise _unknown()
    return row


def _unknown() -> NotFound:
    return NotFound("There is no such OAuth client.")
