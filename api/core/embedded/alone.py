"""The embedded PostgreSQL for a script that works on its data, whether `scripts/start` runs or
not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from api.core.embedded.errors import EmbeddedError
from api.core.embedded.locks import ProcessLock
from api.core.embedded.postgres import EmbeddedPostgres, find_running
from api.core.embedded.settings import embedded_settings, postgres_folder
from config.settings import Settings, SettingsError

_START_SECONDS = 300.0  # one that recovers from a crash takes its time
_POLL_SECONDS = 0.05


@contextmanager
def database_for_now(settings: Settings, *, make: bool = False) -> Iterator[Settings]:
    """The settings with the address of a database that answers. The embedded one is started and
    stopped where no other is named and it does not run; with `make` it may be a new one.

    Raises:
        SettingsError: there is none.
        EmbeddedError: it cannot be started.
    """
    home = settings.signpost_home
    folder = postgres_folder(home)
    if settings.database_url is not None or find_running(folder) is not None:
        yield embedded_settings(settings)
        return
    if not make and not (folder / "data" / "PG_VERSION").exists():
        raise SettingsError(f"no DATABASE_URL, and no embedded server in {home}")
    with _only_starter(home / "run"), started(EmbeddedPostgres(folder)) as url:
        yield replace(settings, database_url=Settings.load({"DATABASE_URL": url}).database_url)


@contextmanager
def started(server: EmbeddedPostgres) -> Iterator[str]:
    """A server that runs within the context; its URL.

    Raises:
        EmbeddedError: it does not start.
    """
    try:
        server.start()
        until = time.monotonic() + _START_SECONDS
        while not server.ready():
            if server.exit_status() is not None or time.monotonic() > until:
                raise EmbeddedError(f"PostgreSQL did not start: {server.complaint()}")
            time.sleep(_POLL_SECONDS)
        yield server.url
    finally:
        server.stop()


@contextmanager
def _only_starter(run: Path) -> Iterator[None]:
    """Nobody starts Signpost on this home meanwhile."""
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = ProcessLock(run / "start.lock")
    if not lock.acquire():
        raise EmbeddedError("Signpost is being started or stopped at this moment: try again")
    try:
        yield
    finally:
        lock.release()
