"""Where a backup is restored to: databases by the names of the shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from api.core.database.backups.errors import BackupError
from api.core.database.backups.manifest import Manifest
from api.core.database.backups.restoring import claimed, is_empty, open_for_use, restore
from api.core.database.backups.servers import (
    beside,
    create_database,
    database_of,
    drop_database,
    swap,
)
from api.core.database.backups.stages import OnStage
from api.core.database.moving.peers import Peer, Peers
from api.core.database.slot_map import MAIN
from config.kinds import database_url
from config.settings import Settings


@dataclass(frozen=True)
class Target:
    """A database, by the address at which it is restored."""

    name: str
    url: str
    # What the directory is to say of it, where it keeps addresses; None: what the backup says.
    address: str | None = None

    @property
    def told(self) -> str:
        """For people: neither password nor user."""
        place = self.url.partition("://")[2].rpartition("@")[2].partition("?")[0]
        return f"{self.name} ({place})"

    def peer(self) -> Peer:
        """To speak to it."""
        return Peer(self.name, self.url)


def parse_targets(given: Sequence[str], manifest: Manifest) -> list[Target]:
    """`name=url` for each database of a backup; a URL alone is that of `main`.

    Raises:
        BackupError: one is missing, too many, or no URL.
    """
    found = {}
    for item in given:
        name, equals, url = item.partition("=")
        if not equals or "://" in name:
            name, url = MAIN, item
        try:
            found[name] = Target(name, database_url(url), url)
        except ValueError as error:
            raise BackupError(f"--into {name}: {error}") from None
    for name in sorted(manifest.databases.keys() - found.keys()):
        raise BackupError(f"the backup has a database {name}: say --into {name}=URL")
    for name in sorted(found.keys() - manifest.databases.keys()):
        raise BackupError(f"the backup has no database {name}")
    return [found[name] for name in manifest.databases]


def known_targets(settings: Settings, manifest: Manifest) -> list[Target]:
    """Where the settings, and the directory that is there, say that these databases are.

    Raises:
        BackupError: nobody knows one of them.
    """
    url = settings.migration_database_url or settings.database_url
    kept = _kept_urls(Peers(settings).main)
    urls = {name: database_url(address) for name, address in kept.items()} | {MAIN: str(url)}
    urls |= dict(settings.shard_urls) | dict(settings.migration_shard_urls)
    missing = sorted(manifest.databases.keys() - urls.keys())
    if missing:
        raise BackupError(f"nobody knows where {missing[0]} is: say --into {missing[0]}=URL")
    return [Target(name, urls[name], kept.get(name)) for name in manifest.databases]


def restore_to(
    targets: Sequence[Target],
    folder: Path,
    manifest: Manifest,
    *,
    jobs: int,
    replace: bool,
    on_stage: OnStage,
) -> dict[str, str]:
    """Restore all databases; with `replace`, beside those that are there, whose places are taken
    when all is proved. Under which names these were kept, by the shards'.

    Raises:
        BackupError: that failed. What was there is there.
    """
    addresses = {target.name: target.address for target in targets if target.address}
    with _made(targets, replace) as made:
        peers = [target.peer() for target in made]
        with claimed(peers, manifest):
            restore(folder, manifest, peers, jobs, on_stage)
            open_for_use(peers, addresses)
        if not replace:
            return {}
        kept = {}
        stamp = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
        # The directory last: until then all is as it was for whoever finds shards there.
        order = sorted(zip(targets, made, strict=True), key=lambda it: it[0].name == MAIN)
        for target, new in order:
            name = f"{database_of(target.url)[:40]}_before_{stamp}"
            swap(target.url, database_of(new.url), name)
            kept[target.name] = name
    return kept


def refuse_full(targets: Sequence[Target]) -> None:
    """Make sure that nothing would be overwritten.

    Raises:
        BackupError: there is something in one of the databases.
    """
    full = [target.told for target in targets if not is_empty(target.peer())]
    if full:
        raise BackupError(f"not empty: {', '.join(full)}. --replace puts the backup in its place")


def drop_kept(targets: Sequence[Target], kept: Mapping[str, str]) -> None:
    """Drop what was replaced."""
    for target in targets:
        drop_database(target.url, kept[target.name])


@contextmanager
def _made(targets: Sequence[Target], replace: bool) -> Iterator[list[Target]]:
    """The databases to fill: those, or new ones beside them, which go if it fails."""
    if not replace:
        yield list(targets)
        return
    stamp = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    made: list[Target] = []
    try:
        for target in targets:
            name = database_of(target.url)
            new = Target(target.name, beside(target.url, f"{name[:40]}_restored_{stamp}"))
            create_database(target.url, database_of(new.url), like=name)
            made.append(new)
        yield made
    except BaseException:
        for target, new in zip(targets, made, strict=False):
            drop_database(target.url, database_of(new.url))
        raise


def _kept_urls(main: Peer) -> dict[str, str]:
    """The addresses that the directory has, where there is one."""
    with main.transaction() as connection:
        if not connection.scalar(text("SELECT to_regclass('shards') IS NOT NULL")):
            return {}
        rows = connection.execute(text("SELECT name, url FROM shards WHERE url IS NOT NULL"))
        return {row.name: row.url for row in rows}
