"""Puts a backup into databases that are empty, and proves that all of it is there."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Connection, text

from api.core.database.backups import programs
from api.core.database.backups.counting import counting
from api.core.database.backups.errors import BackupError, Damaged
from api.core.database.backups.manifest import DatabaseFacts, Manifest, TableFacts
from api.core.database.backups.stages import OnStage, Stage
from api.core.database.backups.tables import find_tables
from api.core.database.moving.peers import Peer
from api.core.database.slot_map import MAIN

# Tells a database in which a restore was left from one that is in use.
_MARK = "signpost_restore"
# Any constant that nothing else locks.
_ADVISORY_LOCK = 0x72_65_73_74_6F_72_65
_POLL_SECONDS = 0.05
_TABLE = re.compile(r'processing data for table "[^".]+\.([^"]+)"')
_OPTIONS = [
    "--format=directory",
    "--no-owner",
    "--no-privileges",
    "--no-password",
    "--exit-on-error",
    "--verbose",
]
_THINGS = text(
    """
    SELECT count(*) FROM pg_class JOIN pg_namespace AS held ON held.oid = relnamespace
    WHERE held.nspname <> 'information_schema' AND held.nspname !~ '^pg_'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
    """
)
_DROP_ALL = text(
    """
DO $$
DECLARE
    thing record;
BEGIN
    FOR thing IN
        SELECT format('DROP TABLE IF EXISTS %I CASCADE', relname) AS statement
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
        UNION ALL
        SELECT format('DROP FUNCTION IF EXISTS %s CASCADE', oid::regprocedure)
        FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
    LOOP
        EXECUTE thing.statement;
    END LOOP;
END
$$
"""
)
_OTHERS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND usename IS NOT NULL AND pid <> pg_backend_pid()"
)
_MAJOR = text("SELECT current_setting('server_version_num')::int / 10000")
_SET_ADDRESS = text("UPDATE shards SET url = :url WHERE name = :name AND url IS NOT NULL")
# Higher than any that a process may have read from what was here before.
_NEW_VERSION = text(
    "UPDATE slot_map SET version = greatest(version, extract(epoch FROM now())::bigint) + 1"
)


def is_empty(peer: Peer) -> bool:
    """Whether a database has nothing in it, or only what a restore left that came to no end."""
    with peer.transaction() as connection:
        return _is_left(connection) or not connection.scalar(_THINGS)


@contextmanager
def claimed(peers: Sequence[Peer], manifest: Manifest) -> Iterator[None]:
    """Databases into which a backup may go, for nobody else meanwhile.

    Raises:
        BackupError: it may not go there.
    """
    with ExitStack() as stack:
        for peer in peers:
            connection = stack.enter_context(peer.connect())
            facts = manifest.databases[peer.name]
            with connection.begin():
                peer.refuse_pooler(connection)
                lock = text("SELECT pg_try_advisory_lock(:key)")
                if not connection.scalar(lock, {"key": _ADVISORY_LOCK}):
                    raise BackupError(
                        f"{peer.name}: another restore works on this database, or it was named for"
                        " two shards"
                    )
                major = int(connection.scalar(_MAJOR) or 0)
                if major < facts.server_major:
                    raise BackupError(
                        f"{peer.name}: this server is PostgreSQL {major}, and the backup is of"
                        f" {facts.server_major}"
                    )
                if others := connection.scalar(_OTHERS):
                    raise BackupError(
                        f"{peer.name}: {others} others are connected: stop all processes first"
                    )
        yield


def restore(
    folder: Path, manifest: Manifest, peers: Sequence[Peer], jobs: int, on_stage: OnStage
) -> None:
    """Fill empty databases, each with what the backup has under its name, and compare.

    Raises:
        BackupError: that failed. The databases are empty again.
    """
    tool_major = int(re.split(r"\D", manifest.tools, maxsplit=1)[0])
    tools = programs.choose_programs(tool_major, f"{manifest.name}, written by {manifest.tools},")
    try:
        for peer in peers:
            _prepare(peer, manifest.databases[peer.name].schema)
        _fill(folder, manifest, peers, tools, jobs, on_stage)
        _compare(manifest, peers, jobs, on_stage)
        for peer in peers:
            with peer.outside() as connection:
                connection.exec_driver_sql("ANALYZE")
    except BaseException:
        for peer in peers:
            _empty(peer)
        raise


def open_for_use(peers: Sequence[Peer], addresses: Mapping[str, str]) -> None:
    """Tell the directory where its shards are now; from then on these are databases as any."""
    # The directory last: without it nobody finds the others.
    for peer in sorted(peers, key=lambda it: it.name == MAIN):
        with peer.transaction() as connection:
            if peer.name == MAIN:
                for name, url in addresses.items():
                    connection.execute(_SET_ADDRESS, {"name": name, "url": url})
                connection.execute(_NEW_VERSION)
            connection.exec_driver_sql(f"DROP TABLE {_MARK}")


def _prepare(peer: Peer, schema: str) -> None:
    _empty(peer)
    with peer.transaction() as connection:
        found = connection.scalar(text("SELECT current_schema()"))
        if found != schema:
            raise BackupError(f"{peer.name}: its schema is {found}, and the backup's is {schema}")
        connection.exec_driver_sql(f"CREATE TABLE {_MARK} AS SELECT now() AS begun_at")


def _fill(
    folder: Path,
    manifest: Manifest,
    peers: Sequence[Peer],
    tools: programs.Programs,
    jobs: int,
    on_stage: OnStage,
) -> None:
    total, begun = _bytes_of(manifest, peers), 0
    runs: list[programs.Run] = []
    with _logs(peers) as logs:
        try:
            for peer in peers:
                # What is in the schema, which is there already.
                schema = manifest.databases[peer.name].schema
                jobs_each = max(jobs // len(peers), 1)
                arguments = [*_OPTIONS, f"--jobs={jobs_each}", f"--schema={schema}"]
                arguments.append(str(folder / peer.name))
                program = tools.folder / "pg_restore"
                runs.append(programs.run(program, arguments, peer, logs[peer.name]))
            while not all(run.ended() for run in runs):
                for run in runs:
                    tables = manifest.databases[run.name].tables
                    for table in _TABLE.findall("\n".join(run.news())):
                        begun += tables[table].size_bytes if table in tables else 0
                on_stage(Stage("restoring", begun, 2 * total))
                time.sleep(_POLL_SECONDS)
        finally:
            for run in runs:
                run.stop()


def _compare(manifest: Manifest, peers: Sequence[Peer], jobs: int, on_stage: OnStage) -> None:
    """Count every table again.

    Raises:
        Damaged: one is not what it was at the point.
    """
    wanted = []
    for peer in peers:
        with peer.transaction() as connection:
            tables = [it for it in find_tables(connection) if it.name != _MARK]
        wanted.append((peer, tables, lambda _: None))
    total = _bytes_of(manifest, peers)
    with counting(wanted, jobs) as counts:
        while not counts.ended:
            on_stage(Stage("comparing", total + min(counts.done_bytes(), total), 2 * total))
            time.sleep(_POLL_SECONDS)
        for peer in peers:
            wrong = _differing(manifest.databases[peer.name], counts.of(peer.name))
            if wrong:
                raise Damaged(f"{peer.name}: what was restored differs in {', '.join(wrong)}")
    on_stage(Stage("comparing", 2 * total, 2 * total))


@contextmanager
def _logs(peers: Sequence[Peer]) -> Iterator[dict[str, Path]]:
    """What the programs say of each database."""
    with tempfile.TemporaryDirectory(prefix="signpost-restore-") as folder:
        yield {peer.name: Path(folder) / f"{peer.name}.log" for peer in peers}


def _differing(facts: DatabaseFacts, found: Mapping[str, TableFacts]) -> list[str]:
    """The tables that are not as the manifest says."""
    said = {name: (it.rows, it.checksum) for name, it in facts.tables.items()}
    there = {name: (it.rows, it.checksum) for name, it in found.items()}
    return sorted(it for it in said.keys() | there.keys() if said.get(it) != there.get(it))


def _bytes_of(manifest: Manifest, peers: Sequence[Peer]) -> int:
    return sum(
        it.size_bytes for peer in peers for it in manifest.databases[peer.name].tables.values()
    )


def _is_left(connection: Connection) -> bool:
    return bool(connection.scalar(text("SELECT to_regclass(:mark) IS NOT NULL"), {"mark": _MARK}))


def _empty(peer: Peer) -> None:
    """Drop what a restore has made; extensions are somebody else's."""
    with peer.transaction() as connection:
        if _is_left(connection):
            connection.execute(_DROP_ALL)
