"""The two families of migrations, each with its own history: what Alembic knows of them."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

LINEAGES = ("directory", "shard")
BASE = "base"
HEAD = "head"
# While a migration queues for a table, the application's own queries queue behind it: it gives up
# soon. Neither does it keep a table for long by what it does itself.
LOCK_TIMEOUT = "SET lock_timeout = '5s'"
STATEMENT_TIMEOUT = "SET statement_timeout = '15min'"
# Folders like `migrations` with revisions that are not to be applied anywhere yet.
DRAFTS: list[Path] = []
_MIGRATIONS = Path(__file__).parent / "migrations"


def lineage_config(lineage: str, connection: Connection | None = None) -> Config:
    """The Alembic configuration of one lineage."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    folders = os.pathsep.join(str(folder / lineage) for folder in (_MIGRATIONS, *DRAFTS))
    config.set_main_option("version_locations", folders)
    config.set_main_option("path_separator", "os")
    config.attributes["version_table"] = version_table(lineage)
    config.attributes["connection"] = connection
    return config


def version_table(lineage: str) -> str:
    """Where a lineage keeps its revision; both may live in one database."""
    return f"alembic_version_{lineage}"


def revisions(lineage: str) -> list[str]:
    """All revisions of a lineage, the oldest first."""
    scripts = ScriptDirectory.from_config(lineage_config(lineage))
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def revisions_after(lineage: str, revision: str | None) -> list[str]:
    """What a database at a revision lacks, None where it has nothing yet; in order.

    Nothing where this code does not know the revision: it is of newer code.
    """
    known = revisions(lineage)
    if revision is None:
        return known
    return known[known.index(revision) + 1 :] if revision in known else []


def is_known(lineage: str, revision: str | None) -> bool:
    """Whether this code has a revision, or there is none."""
    return revision is None or revision in revisions(lineage)


def newest_revision(lineage: str) -> str | None:
    """The head of a lineage in this code."""
    return ScriptDirectory.from_config(lineage_config(lineage)).get_current_head()


def current_revision(connection: Connection, lineage: str) -> str | None:
    """The revision that a database is at."""
    options = {"version_table": version_table(lineage)}
    return MigrationContext.configure(connection, opts=options).get_current_revision()


def move(
    connection: Connection,
    lineage: str,
    target: str,
    on_step: Callable[[str, float], None] = lambda *_: None,
) -> None:
    """Bring a database to a revision, each step a transaction of its own.

    `target` is a revision, `head` or `base`. `on_step` is told each revision that was applied, or
    taken back, and how many seconds it took.
    """
    config = lineage_config(lineage, connection)
    began = time.monotonic()

    def note(step: Any, **more: Any) -> None:
        nonlocal began
        del more
        on_step(step.up_revision_id, time.monotonic() - began)
        began = time.monotonic()

    config.attributes["on_step"] = note
    order = [BASE, *revisions(lineage)]
    place = order.index(current_revision(connection, lineage) or BASE)
    connection.rollback()  # the question began a transaction
    if order.index(order[-1] if target == HEAD else target) < place:
        command.downgrade(config, target)
    else:
        command.upgrade(config, target)


def sql_of(lineage: str, after: str = BASE, up_to: str = HEAD) -> str:
    """The SQL of the revisions behind `after` up to `up_to`; nothing is connected."""
    config = lineage_config(lineage)
    config.output_buffer = config.attributes["output"] = io.StringIO()
    command.upgrade(config, f"{after}:{up_to}", sql=True)
    return f"{LOCK_TIMEOUT};\n{STATEMENT_TIMEOUT};\n\n{config.output_buffer.getvalue()}"


def steps(lineage: str, after: str = BASE) -> Iterator[tuple[str, str]]:
    """Each revision of a lineage behind `after`, and its SQL."""
    before = after
    for revision in revisions_after(lineage, None if after == BASE else after):
        yield revision, sql_of(lineage, before, revision)
        before = revision
