"""What of the directory is in an archive: which columns of which table, and no secret."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Select, Table, select, tuple_

from api.core.database.routing import Database
from api.models import METADATA

_TABLES = METADATA["directory"].tables
_ROWS_AT_ONCE = 500
# Beyond these numbers a program may read something else: ids are strings, as everywhere.
_IDS = ("id", "workspace_id", "user_id", "invited_by", "oauth_client_id")
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a table that name the workspace, as lines of JSON."""

    table: str
    # Credentials, also as hashes, and what is only ours.
    without: Sequence[str] = ()
    # Columns of the user whom a row names.
    of_user: Sequence[str] = field(default=())

    @property
    def name(self) -> str:
        """What it is called in the archive."""
        return f"{self.table}.ndjson"

    def lines(self, db: Database, workspace: int) -> Iterator[tuple[bytes, int]]:
        """All of them, some at a time, and how many these are; each page a transaction."""
        after: tuple[Any, ...] | None = None
        while True:
            with db.read_directory() as session:
                rows = session.execute(self._page(workspace, after)).mappings().all()
            if not rows:
                return
            yield b"".join(map(_line, rows)), len(rows)
            after = tuple(rows[-1][column.key] for column in self._key())

    def _key(self) -> list[Any]:
        return list(_TABLES[self.table].primary_key.columns)

    def _page(self, workspace: int, after: tuple[Any, ...] | None) -> Select[Any]:
        table: Table = _TABLES[self.table]
        key = self._key()
        columns = [column for column in table.columns if column.key not in self.without]
        query = select(*columns)
        if self.of_user:
            users = _TABLES["users"]
            query = select(*columns, *(users.c[name] for name in self.of_user)).join(
                users, users.c.id == table.c.user_id
            )
        query = query.where(table.c.workspace_id == workspace)
        if after is not None:
            query = query.where(tuple_(*key) > after)
        return query.order_by(*key).limit(_ROWS_AT_ONCE)


DIRECTORY = (
    Rows("memberships", of_user=("email", "name")),
    Rows("invitations", without=("token_hash",)),
    Rows("domains"),
    Rows("api_keys", without=("key_hash",)),
    Rows("oauth_clients", without=("secret_hash",)),
    Rows("target_rules", without=("owner_id",)),
    Rows("audit_events"),
)


def _line(row: Any) -> bytes:
    shown = {name: str(row[name]) if name in _IDS and row[name] else row[name] for name in row}
    return orjson.dumps(shown, option=_OPTIONS, default=str)
