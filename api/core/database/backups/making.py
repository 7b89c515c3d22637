"""Makes a backup: all databases at one point, copied and counted, whole or not at all."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
from sqlalchemy import Connection, text

import api
from api.core.database.backups import folder as folders
from api.core.database.backups import manifest as manifests
from api.core.database.backups import programs
from api.core.database.backups.counting import counting
from api.core.database.backups.errors import BackupError
from api.core.database.backups.manifest import DatabaseFacts, Manifest, SlotFacts, TableFacts
from api.core.database.backups.point import Point, Snapshot, take_point
from api.core.database.backups.stages import OnStage, Stage
from api.core.database.backups.tables import find_tables
from api.core.database.lineages import LINEAGES, current_revision
from api.core.database.moving.peers import Peer, Peers
from api.core.database.moving.record import only_mover, read_slots
from api.core.database.slot_map import Slots

_POLL_SECONDS = 0.05
_TABLE = re.compile(r'dumping contents of table "[^".]+\.([^"]+)"')
_OPTIONS = [
    "--format=directory",
    "--compress=6",
    # What is installed is the server's, and so are other schemas.
    "--extension=plpgsql",
    "--no-owner",
    "--no-privileges",
    "--no-publications",
    "--no-subscriptions",
    "--no-tablespaces",
    "--no-security-labels",
    "--no-password",
    "--verbose",
]
_FACTS = text(
    "SELECT current_setting('server_version') AS version, current_schema() AS schema,"
    " current_setting('server_version_num')::int / 10000 AS major"
)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How a backup is to be."""

    place: Path
    jobs: int
    patience_seconds: float
    # None where nobody knows it here.
    secret_key: bytes | None
    # What is to be kept beside the databases, sealed.
    sealed_keys: bytes | None = None
    as_tar: bool = False
    # Proves that a backup can be restored.
    verify: Callable[[Path, Manifest], object] | None = None
    on_stage: OnStage = lambda _: None


@dataclass(frozen=True)
class _Copied:
    """What was copied, and of when."""

    point: Point
    slots: Slots
    tools: str
    databases: Mapping[str, DatabaseFacts]


def make_backup(peers: Peers, wishes: Wishes) -> tuple[Path, Manifest]:
    """Make one; where it is, and what it says of itself.

    Raises:
        BackupError: it cannot be made. Nothing is left of it.
        ShardError: slots are moved at present.
    """
    began = datetime.now(UTC)
    name = folders.name_at(began)
    target = wishes.place / (f"{name}.tar" if wishes.as_tar else name)
    with folders.private_files(), folders.draft(wishes.place) as draft:
        made = draft / name
        made.mkdir()
        copied = _copy_databases(peers, wishes, draft, made)
        if wishes.sealed_keys is not None:
            (made / manifests.KEYS).write_bytes(wishes.sealed_keys)
        manifest = _describe(made, wishes, copied, began)
        manifest.write(made)
        if wishes.verify is not None:
            wishes.verify(made, manifest)
            manifest = msgspec.structs.replace(manifest, verified_at=datetime.now(UTC))
            manifest.write(made)
        if wishes.as_tar:
            folders.pack(made, draft / target.name)
        folders.publish(draft / target.name, target)
    return target, manifest


def foretell(peers: Peers) -> dict[str, int]:
    """The size of the tables of each database that would be copied.

    Raises:
        BackupError: something is missing.
    """
    with peers.main.transaction() as connection:
        slots = read_slots(connection)
    shards = [peers.of(name, slots.urls) for name in slots.shards]
    programs.choose_programs(max(map(_look_at, shards)), "a backup of these servers")
    sizes = {}
    for shard in shards:
        with shard.transaction() as connection:
            sizes[shard.name] = sum(table.size_bytes for table in find_tables(connection))
    return sizes


def _copy_databases(peers: Peers, wishes: Wishes, draft: Path, made: Path) -> _Copied:
    """Copy all databases at one point into folders of `made`."""
    # While slots move, one shard has rows that belong to another.
    with only_mover(peers.main) as directory:
        if directory.unfinished():
            raise BackupError("a move of slots has not come to its end: resume or abort it first")
        urls = directory.slots.urls
        shards = [peers.of(name, urls) for name in directory.slots.shards]
        tools = programs.choose_programs(max(map(_look_at, shards)), "a backup of these servers")

        def on_busy(why: str) -> None:
            wishes.on_stage(Stage("waiting for a moment without writers", note=why))

        on_busy("")
        with take_point(shards, wishes.patience_seconds, on_busy) as point:
            slots = read_slots(point.snapshots[0].connection)
            facts = [_facts_of(snapshot) for snapshot in point.snapshots]
            tables = _copy(shards, point, wishes, tools, draft, made)
    databases = {
        shard.name: msgspec.structs.replace(known, tables=tables[shard.name])
        for shard, known in zip(shards, facts, strict=True)
    }
    return _Copied(point, slots, tools.version, databases)


def _copy(
    shards: Sequence[Peer],
    point: Point,
    wishes: Wishes,
    tools: programs.Programs,
    draft: Path,
    made: Path,
) -> dict[str, dict[str, TableFacts]]:
    """Have pg_dump copy each database, and count the same rows meanwhile; the counts."""
    sizes = {
        (snapshot.name, table.name): table.size_bytes
        for snapshot in point.snapshots
        for table in snapshot.tables
    }
    wanted = [
        (shard, snapshot.tables, partial(_join, snapshot=snapshot))
        for shard, snapshot in zip(shards, point.snapshots, strict=True)
    ]
    jobs = max(wishes.jobs // len(shards), 1)
    runs: list[programs.Run] = []
    begun = 0
    try:
        for shard, snapshot in zip(shards, point.snapshots, strict=True):
            arguments = [f"--jobs={jobs}", f"--snapshot={snapshot.id}"]
            arguments.append(f"--schema={snapshot.schema}")
            arguments.append(f"--file={made / shard.name}")
            log = draft / f"{shard.name}.log"
            program = tools.folder / "pg_dump"
            runs.append(programs.run(program, [*_OPTIONS, *arguments], shard, log))
        with counting(wanted, wishes.jobs) as counts:
            while not all([*(run.ended() for run in runs), counts.ended]):
                for run in runs:
                    for table in _TABLE.findall("\n".join(run.news())):
                        begun += sizes.get((run.name, table), 0)
                note = f"{folders.size_of(made) / 1e6:,.1f} MB written"
                done = counts.done_bytes() + begun
                wishes.on_stage(Stage("copying", done, 2 * counts.size_bytes, note))
                time.sleep(_POLL_SECONDS)
            return {shard.name: counts.of(shard.name) for shard in shards}
    finally:
        for run in runs:
            run.stop()


def _describe(made: Path, wishes: Wishes, copied: _Copied, began: datetime) -> Manifest:
    files = folders.facts_of(made, wishes.on_stage)
    slots, point = copied.slots, copied.point
    return Manifest(
        format=manifests.FORMAT,
        name=made.name,
        signpost_version=api.__version__,
        point_at=point.at,
        began_at=began,
        ended_at=datetime.now(UTC),
        writers_waited_seconds=round(point.writers_waited_seconds, 3),
        tries=point.tries,
        tools=copied.tools,
        secret_key_mark=manifests.mark_of(wishes.secret_key),
        has_keys=wishes.sealed_keys is not None,
        verified_at=None,
        slots=SlotFacts(
            slots.version,
            {name: slots.owned_by(name) for name in slots.shards},
            sorted(name for name, url in slots.urls.items() if url),
        ),
        databases=dict(copied.databases),
        files=files,
    )


def _look_at(peer: Peer) -> int:
    """The version of a server, which is reached past any pooler."""
    with peer.transaction() as connection:
        peer.refuse_pooler(connection)
        return int(connection.execute(_FACTS).one().major)


def _facts_of(snapshot: Snapshot) -> DatabaseFacts:
    connection = snapshot.connection
    row = connection.execute(_FACTS).one()
    found = {lineage: current_revision(connection, lineage) for lineage in LINEAGES}
    return DatabaseFacts(
        server_version=row.version,
        server_major=row.major,
        wal_position=snapshot.wal_position,
        snapshot_at=snapshot.at,
        schema=row.schema,
        revisions={lineage: revision for lineage, revision in found.items() if revision},
        tables={},
    )


def _join(connection: Connection, snapshot: Snapshot) -> None:
    """Begin a transaction that sees what the snapshot does."""
    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    connection.exec_driver_sql(f"SET TRANSACTION SNAPSHOT '{snapshot.id}'")
