"""Revisions are in order, and stand on their own: they run when our code is another."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import api.core.database
from api.core.database.lineages import LINEAGES, steps

FOLDER = Path(api.core.database.__file__).with_name("migrations")
FILES = sorted(FOLDER.glob("*/*.py"))
MAY_LOAD = {"__future__", "alembic", "collections", "sqlalchemy"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_revision_is_in_order(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "says what it is for"
    assert re.fullmatch(r"\d{4}_[a-z_]+", path.stem)
    before = [other for other in FILES if other.parent == path.parent and other < path]
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("revision", "down_revision")
    }
    assert values == {
        "revision": name_of(path),
        "down_revision": name_of(before[-1]) if before else None,
    }
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {"upgrade", "downgrade"} <= functions
    assert loaded(tree) <= MAY_LOAD


@pytest.mark.parametrize("lineage", LINEAGES)
def test_an_index_is_made_concurrently_after_the_rest_of_one(lineage: str) -> None:
    """Whoever is killed half way leaves an invalid one, for which IF NOT EXISTS does nothing."""
    for revision, sql in steps(lineage):
        for made in re.finditer(
            r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY (?:IF NOT EXISTS )?(\w+)", sql
        ):
            before = sql[: made.start()]
            assert f"DROP INDEX CONCURRENTLY IF EXISTS {made[1]}" in before, revision


def name_of(path: Path) -> str:
    return f"{path.stem[:4]}_{path.parent.name}"


def loaded(tree: ast.Module) -> set[str]:
    """The packages that a revision imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or ".").partition(".")[0])
    return found
