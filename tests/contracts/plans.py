"""Judges how PostgreSQL plans what is asked of filled tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from flask import Flask

from api.core.database.routing import Database
from api.core.pagination import MAX_LIMIT
from tests.caller import Caller
from tests.contracts.endpoints import Stage
from tests.statements import Statement, recorded

# The largest page, and the row that tells of the next.
PAGE = MAX_LIMIT + 1
# Tables that stay small, and are rightly read whole.
SMALL_TABLES = {
    "click_count_progress",  # a row
    "shards",  # a row for each
    "slot_moves",  # a row for each move that somebody asked for
    "slots",  # at most 1,024
    "slot_map",  # a row
    "target_rule_changes",  # no more than there may be rules, which are bounded
}


class Filled(NamedTuple):
    """An application on filled tables, and who has most of the rows, some, and few."""

    app: Flask
    db: Database
    large: Stage
    callers: list[Caller]


class Judge:
    """Collects what is wrong with the plans of statements."""

    def __init__(self) -> None:
        self.seen = 0
        self.wrong: list[str] = []

    @contextmanager
    def judging(self, what: str, *, sort: int = PAGE, look: int | None = None) -> Iterator[None]:
        """Look at what is sent meanwhile; `sort` and `look`: the most rows sorted and looked at."""
        with recorded(explain=True) as sent:
            yield
        for statement in sent:
            self.seen += statement.plan is not None
            for found in complaints(statement, sort, look):
                self.wrong.append(f"{what}: {found}\n{statement}")

    def verdict(self) -> None:
        """Fail where anything is wrong."""
        assert self.seen
        told = "\n\n".join(self.wrong[:5])
        assert not self.wrong, f"{len(self.wrong)} plans are wrong, among them:\n{told}"


def complaints(statement: Statement, sort: int, look: int | None) -> Iterator[str]:
    for table, rows in statement.scanned():
        # To see whether there is any, one is enough.
        if rows > 1 and table not in SMALL_TABLES and not table.startswith("pg_"):
            yield f"reads {rows} rows of {table}, one after the other"
    if statement.sorted() > sort:
        yield f"sorts {statement.sorted()} rows"
    if look is not None and statement.looked_at() > look:
        yield f"looks at {statement.looked_at()} rows"
