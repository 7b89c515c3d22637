"""The two families of migrations, each with its own history: what Alembic knows of them."""

from __future__ import annotations

import io
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
_MIGRATIONS = Path(__file__).parent / "migrations"


def lineage_config(lineage: str, connection: Connection | None = None) -> Config:
    """The Alembic configuration of one lineage."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("version_locations", str(_MIGRATIONS / lineage))
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
    return config.output_buffer.getvalue()


def steps(lineage: str) -> Iterator[tuple[str, str]]:
    """Each revision of a lineage, and its SQL."""
    before = BASE
    for revision in revisions(lineage):
        yield revision, sql_of(lineage, before, revision)
        before = revision
