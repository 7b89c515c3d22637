"""Whether the databases have the schema that this code needs."""

from __future__ import annotations

from sqlalchemy import text

from api.core.database.revisions import known_revisions, pending_revisions
from api.core.database.sessions import ReadSession
from api.core.database.slot_map import MAIN
from api.operations.checks import BEHIND, Details, Failing

# The directory and the first shard are in one database.
_LINEAGES = {MAIN: ("directory", "shard")}


def ask_schema(session: ReadSession, shard: str) -> Details:
    """The revisions that a database is at. Newer ones than this code's are good: migrations go
    before the code that needs them.

    Raises:
        Failing: it is behind.
    """
    revisions = {
        lineage: _revision(session, lineage) for lineage in _LINEAGES.get(shard, ("shard",))
    }
    pending = [
        missing
        for lineage, revision in revisions.items()
        for missing in pending_revisions(lineage, revision)
    ]
    if pending:
        raise Failing(
            "migrations are pending: run scripts/migrate",
            status=BEHIND,
            revisions=revisions,
            pending=pending,
        )
    newer = [name for name, at in revisions.items() if at not in known_revisions(name)]
    return {"revisions": revisions} | ({"newer_than_code": newer} if newer else {})


def _revision(session: ReadSession, lineage: str) -> str | None:
    table = f"alembic_version_{lineage}"
    if session.scalar(text("SELECT to_regclass(:name)"), {"name": table}) is None:
        return None
    revision: str | None = session.scalar(text(f"SELECT version_num FROM {table}"))
    return revision
