"""Databases that are made beside others: to try a backup in, or to take the place of one in use."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import make_url

from api.core.database.backups.errors import BackupError
from api.core.database.moving.peers import Peer
from api.core.embedded.alone import started
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.postgres import NEWEST, EmbeddedPostgres
from config.kinds import database_url

# What is lost with this server was to be thrown away.
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_LIKE = text("SELECT to_jsonb(held) FROM pg_database AS held WHERE datname = :name")
_END_OTHERS = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
    " AND usename IS NOT NULL AND pid <> pg_backend_pid()"
)


def beside(url: str, database: str) -> str:
    """The URL of another database on the same server."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def database_of(url: str) -> str:
    """The name of a URL's database."""
    return str(make_url(url).database or "")


@contextmanager
def scratch_server(url: str | None, lowest: int) -> Iterator[str]:
    """The URL of a server to try things on: that one, else an embedded one for as long as this.

    Raises:
        BackupError: there is none of that version.
    """
    if url is not None:
        try:
            yield database_url(url)
        except ValueError as error:
            raise BackupError(f"--scratch: {error}") from None
        return
    if int(NEWEST) < lowest:
        raise BackupError(f"no embedded PostgreSQL is as new as {lowest}: name a server, --scratch")
    with tempfile.TemporaryDirectory(prefix="signpost-scratch-") as folder, ExitStack() as stack:
        try:
            server = EmbeddedPostgres(Path(folder), options=_FORGETFUL)
            found = stack.enter_context(started(server))
        except EmbeddedError as error:
            raise BackupError(f"{error}. Or name a server for it: --scratch") from error
        yield database_url(found)


@contextmanager
def scratch_databases(server: str, names: Sequence[str]) -> Iterator[list[Peer]]:
    """A new database for each of these shards, dropped at the end."""
    run = secrets.token_hex(4)
    with ExitStack() as stack:
        found = []
        for number, name in enumerate(names):
            url = beside(server, f"signpost_scratch_{run}_{number}")
            stack.callback(drop_database, server, database_of(url))
            create_database(server, database_of(url))
            found.append(Peer(name, url))
        yield found


def create_database(server: str, name: str, like: str | None = None) -> None:
    """Make a database, which sorts and compares as another one does."""
    with Peer("server", server).outside() as connection:
        parts = [f"CREATE DATABASE {_quoted(name)}"]
        if like is not None:
            row: dict[str, Any] = connection.execute(_LIKE, {"name": like}).scalar_one()
            parts += _locale_of(row)
        connection.exec_driver_sql(" ".join(parts))


def drop_database(server: str, name: str) -> None:
    """Drop a database, whoever uses it."""
    with Peer("server", server).outside() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")


def swap(url: str, made: str, kept: str) -> None:
    """Let a new database have the name of another, which is `kept` under a third one.

    Who is connected to the old one is cut off, and finds the new one when they come again.
    """
    name = database_of(url)
    # Nobody can rename the database to which they are connected.
    with Peer("server", beside(url, made)).outside() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {_quoted(name)} ALLOW_CONNECTIONS false")
        try:
            connection.execute(_END_OTHERS, {"name": name})
            connection.exec_driver_sql(f"ALTER DATABASE {_quoted(name)} RENAME TO {_quoted(kept)}")
        except BaseException:
            connection.exec_driver_sql(f"ALTER DATABASE {_quoted(name)} ALLOW_CONNECTIONS true")
            raise
        connection.exec_driver_sql(f"ALTER DATABASE {_quoted(kept)} ALLOW_CONNECTIONS true")
    with Peer("server", beside(url, kept)).outside() as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {_quoted(made)} RENAME TO {_quoted(name)}")


def _locale_of(row: dict[str, Any]) -> list[str]:
    """What of a database must be said again of one that is to be like it."""
    provider = {"c": "libc", "i": "icu", "b": "builtin"}[row["datlocprovider"]]
    # PostgreSQL 17 has renamed it.
    locale = row.get("datlocale") or row.get("daticulocale")
    options = {
        "LC_COLLATE": row["datcollate"],
        "LC_CTYPE": row["datctype"],
        "LOCALE_PROVIDER": provider,
        "BUILTIN_LOCALE" if provider == "builtin" else "ICU_LOCALE": locale,
    }
    said = [f"{name} '{value}'" for name, value in options.items() if value]
    return ["TEMPLATE template0", f"ENCODING {row['encoding']}", *said]


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
