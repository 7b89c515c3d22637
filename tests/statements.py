"""What the application says to PostgreSQL, on whichever server, and how it is planned."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import CacheStats

_PLANNED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_EXPLAIN = "EXPLAIN (ANALYZE, TIMING OFF, BUFFERS OFF, FORMAT JSON)"


@dataclass(frozen=True)
class Statement:
    """What was sent, once for all the rows of an `executemany`."""

    sql: str
    parameters: Any
    # As PostgreSQL planned it, and what then came of it; None where that was not asked.
    plan: dict[str, Any] | None = None
    # Whether SQLAlchemy had to compile it; what is prepared, or text for the driver, never is.
    compiled: bool = False

    def nodes(self) -> Iterator[dict[str, Any]]:
        """All parts of the plan, the outermost first."""
        waiting = [] if self.plan is None else [self.plan]
        while waiting:
            node = waiting.pop()
            waiting += node.get("Plans", ())
            yield node

    def scanned(self) -> Iterator[tuple[str, int]]:
        """The tables that are read from one end to the other, and how many rows of them."""
        for node in self.nodes():
            if node["Node Type"] == "Seq Scan":
                yield node["Relation Name"], _looked_at(node)

    def sorted(self) -> int:
        """The most rows that are sorted at once; none where the rows come in groups that are in
        order already (incremental sorts)."""
        return max(
            (_input(node) for node in self.nodes() if node["Node Type"] == "Sort"), default=0
        )

    def looked_at(self) -> int:
        """The most rows that any part looks at, whether it takes them or not."""
        return max(map(_looked_at, self.nodes()), default=0)

    def __str__(self) -> str:
        return f"{self.sql}\n{self.parameters}\n{json.dumps(self.plan, indent=1)}"


def _rows(node: dict[str, Any], name: str = "Actual Rows") -> int:
    return round(node.get(name, 0) * node["Actual Loops"])


def _looked_at(node: dict[str, Any]) -> int:
    return _rows(node) + _rows(node, "Rows Removed by Filter")


def _input(node: dict[str, Any]) -> int:
    """The rows that a sort is given at a time; sub-plans of its expressions are no input."""
    return max(
        round(part["Actual Rows"])
        for part in node["Plans"]
        if part["Parent Relationship"] == "Outer"
    )


@contextmanager
def recorded(*, explain: bool = False, all_threads: bool = False) -> Iterator[list[Statement]]:
    """The statements that are sent meanwhile, by all engines of this process: single statements
    too, not the BEGIN and the COMMIT around others.

    Only those of this thread, unless asked: others look for changes in the background. With
    `explain` each is planned, and run, once more before it is run, within its own transaction.
    """
    sent: list[Statement] = []
    here = threading.get_ident()

    def note(
        connection: Any, cursor: Any, sql: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if all_threads or threading.get_ident() == here:
            plan = _explain(cursor.connection, sql, parameters) if explain else None
            compiled = context is not None and context.compiled is not None
            anew = compiled and context.cache_hit is not CacheStats.CACHE_HIT
            sent.append(Statement(sql, parameters, plan, anew))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _explain(driver: Any, sql: str, parameters: Any) -> dict[str, Any] | None:
    """What the statement does, which is undone before it is done for good."""
    if not _PLANNED.match(sql):
        return None
    if isinstance(parameters, list | tuple) and parameters and isinstance(parameters[0], dict):
        parameters = parameters[0]
    alone = driver.autocommit
    with driver.cursor() as cursor:
        cursor.execute("BEGIN" if alone else "SAVEPOINT explained")
        cursor.execute(f"{_EXPLAIN} {sql}", parameters or None)
        ((found,),) = cursor.fetchall()
        cursor.execute("ROLLBACK" if alone else "ROLLBACK TO SAVEPOINT explained")
    plan: dict[str, Any] = found[0]["Plan"]
    return plan
