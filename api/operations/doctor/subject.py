"""The installation that is looked at: its settings, and the servers that they lead to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from sqlalchemy import text

from api.core.database.servers import Server
from api.core.database.sessions import ReadSession
from api.core.database.slot_map import MAIN
from api.core.embedded.settings import embedded_settings
from api.core.errors import Unavailable
from api.operations.doctor.reasons import NotThere
from config.kinds import database_url
from config.settings import Settings, SettingsError

ASK_SECONDS = 3
# As many looks at the same server at once.
_CONNECTIONS = 3
_SHARDS = text("SELECT name, url FROM shards")
_HAS_SHARDS = text("SELECT to_regclass('shards') IS NOT NULL")


@dataclass(frozen=True, slots=True)
class Place:
    """A database of the installation; `setting` is what names it."""

    name: str
    shard: str
    setting: str
    server: Server
    is_replica: bool = False

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def read(self) -> Iterator[ReadSession]:
        """A transaction that PostgreSQL holds to reading, of short statements.

        Raises:
            Unavailable: it is away.
        """
        with self.server.read() as session:
            yield session


class Once:
    """A value that several threads want and one makes; what it raised all are told."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._outcome: tuple[Any, Exception | None] | None = None

    def __call__(self) -> Any:
        with self._lock:
            if self._outcome is None:
                try:
                    self._outcome = self._make(), None
                except Exception as error:
                    self._outcome = None, error
            value, raised = self._outcome
        if raised is not None:
            raise raised
        return value


class Subject:
    """Nothing is asked before a look wants it; safe for many looks at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        # What cannot be used, by the names of the settings; the rest is looked at without it.
        self.faults: dict[str, str] = {}
        self.settings = self._usable(dict(environ))
        # What each of several servers has, to answer a look.
        self.server_seconds = float(ASK_SECONDS)
        # Shards of the directory for which neither it nor a setting has an address.
        self.without_address: list[str] = []
        self._connected = Once(self._find_servers)
        self._main = Once(self._make_main)
        self._primaries = Once(self._find_primaries)
        self._replicas = Once(self._find_replicas)

    @property
    def connected(self) -> Settings:
        """The settings with the embedded servers' addresses, where none are set and they run.

        Raises:
            SettingsError: there is no database at all.
        """
        found: Settings = self._connected()
        return found

    @cached_property
    def is_embedded(self) -> bool:
        """Whether the database is the one that scripts/start runs."""
        return self.settings.database_url is None and "DATABASE_URL" not in self.faults

    def main(self) -> Place:
        """The directory's database, which is the first shard, too.

        Raises:
            NotThere: nobody says where it is.
        """
        place: Place = self._main()
        return place

    def primaries(self) -> list[Place]:
        """All shards, `main` first; those that the settings name, while the directory is away.

        Raises:
            NotThere: nobody says where `main` is.
        """
        return list(self._primaries())

    def replicas(self) -> list[Place]:
        """All replicas that the settings name."""
        return list(self._replicas())

    def _usable(self, environ: dict[str, str]) -> Settings:
        """The settings without those that are wrong, which are noted."""
        for item in fields(Settings):
            name = item.name.upper()
            try:
                if environ.get(name, "") != "":
                    item.metadata["kind"](environ[name])
            except ValueError as error:
                self.faults[name] = str(error)
                del environ[name]
        while True:
            try:
                return Settings.load(environ)
            except SettingsError as error:
                # Settings that do not go together: the first one that is named.
                name, _, reason = str(error).partition(": ")
                self.faults[name] = reason
                if name not in environ:
                    return Settings()
                del environ[name]

    def _find_servers(self) -> Settings:
        if "DATABASE_URL" in self.faults:
            raise SettingsError("DATABASE_URL cannot be used")
        found = embedded_settings(self.settings)
        return replace(
            found,
            db_connect_timeout_seconds=ASK_SECONDS,
            db_statement_timeout_seconds=float(ASK_SECONDS),
            db_lock_timeout_seconds=1.0,
            db_pool_size=_CONNECTIONS,
            db_max_overflow=0,
            db_pool_timeout_seconds=float(ASK_SECONDS),
        )

    def _make_main(self) -> Place:
        try:
            settings = self.connected
        except SettingsError as error:
            raise NotThere(str(error)) from error
        assert settings.database_url is not None  # noqa: S101 - embedded_settings took care
        setting = "SIGNPOST_HOME" if self.is_embedded else "DATABASE_URL"
        return Place(MAIN, MAIN, setting, Server(MAIN, settings.database_url, settings))

    def _find_primaries(self) -> list[Place]:
        main, settings = self.main(), self.connected
        urls: dict[str, str | None] = {}
        try:
            with main.read() as session:
                if session.scalar(_HAS_SHARDS):
                    urls |= {row.name: row.url for row in session.execute(_SHARDS)}
        except Unavailable:
            pass  # it is told where connections are looked at
        urls |= dict(settings.shard_urls)
        urls.pop(MAIN, None)
        self.without_address = sorted(name for name, url in urls.items() if not url)
        return [main] + [
            Place(name, name, "SHARD_URLS", Server(name, database_url(url), settings))
            for name, url in sorted(urls.items())
            if url
        ]

    def _find_replicas(self) -> list[Place]:
        try:
            settings = self.connected
        except SettingsError as error:
            raise NotThere(str(error)) from error
        # In this order they have the names by which health and metrics tell of them.
        named = [(shard, url, "SHARD_REPLICA_URLS") for shard, url in settings.shard_replica_urls]
        named += [(MAIN, url, "DATABASE_REPLICA_URLS") for url in settings.database_replica_urls]
        counts: dict[str, int] = {}
        places = []
        for shard, url, setting in named:
            counts[shard] = counts.get(shard, 0) + 1
            name = f"{shard}-replica-{counts[shard]}"
            server = Server(name, url, settings, read_only=True)
            places.append(Place(name, shard, setting, server, is_replica=True))
        return places
