"""Which migrations this code has, by their files: a web process asks, and does not load Alembic."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_MIGRATIONS = Path(__file__).parent / "migrations"


@cache
def known_revisions(lineage: str) -> tuple[str, ...]:
    """All revisions of a lineage, the oldest first. They are numbered: `0007_shard` is in a file
    `0007_….py`."""
    files = sorted((_MIGRATIONS / lineage).glob("[0-9]*_*.py"))
    return tuple(f"{file.name.partition('_')[0]}_{lineage}" for file in files)


def pending_revisions(lineage: str, revision: str | None) -> list[str]:
    """What a database at a revision lacks, None where it has nothing yet; nothing where this code
    does not know the revision: it is of newer code."""
    known = known_revisions(lineage)
    if revision is None:
        return list(known)
    return list(known[known.index(revision) + 1 :]) if revision in known else []
