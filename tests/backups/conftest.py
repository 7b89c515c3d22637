"""An installation of two shards to back up, and empty databases to restore to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import new_database
from tests.scripting import run_script
from tests.shards.conftest import Shards, ingest, shards

__all__ = ["ingest", "shards"]


@dataclass(frozen=True)
class Office:
    """Runs the scripts for an installation."""

    environ: dict[str, str]
    place: Path

    def run(self, script: str, *arguments: object, status: int = 0) -> str:
        """What a script printed, which must end with this status."""
        done = run_script(script, *arguments, env=self.environ)
        assert done.returncode == status, f"{script} {arguments}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout if status == 0 else done.stderr

    def backup(self, *arguments: object) -> dict[str, Any]:
        """Make a backup; what is said of it."""
        said: dict[str, Any] = json.loads(
            self.run("backup", "--to", self.place, "--json", *arguments)
        )
        return said

    def restore(self, path: object, *arguments: object) -> dict[str, Any]:
        """Restore one; what is said of it."""
        said: dict[str, Any] = json.loads(self.run("restore", path, "--json", *arguments))
        return said


@pytest.fixture
def office(environ: dict[str, str], shards: Shards, tmp_path: Path) -> Office:
    settings = shards.settings
    changes = {
        "DATABASE_URL": str(settings.database_url),
        "SIGNPOST_HOME": str(settings.signpost_home),
        "STATS_CACHE_SECONDS": "0",
    }
    return Office(environ | changes, tmp_path / "backups")


@pytest.fixture
def empty() -> Iterator[Callable[[], dict[str, str]]]:
    """Gives the URLs of new databases, by the names of the shards."""
    with ExitStack() as stack:
        yield lambda: {name: stack.enter_context(new_database()) for name in ("main", "second")}
