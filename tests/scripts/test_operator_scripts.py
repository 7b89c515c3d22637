"""The scripts that operators run, as processes, against a database of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from tests.conftest import new_database
from tests.scripting import run_script

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with an empty database and a home of its own."""
    with new_database() as url:
        yield {
            **os.environ,
            "DATABASE_URL": url,
            "REDIS_URL": "",
            "SIGNPOST_HOME": str(tmp_path),
            "SECRET_KEY": "a secret of the tests only",
            "LOG_LEVEL": "WARNING",
        }


def run(
    environ: dict[str, str], script: str, *arguments: str, given: str = ""
) -> subprocess.CompletedProcess[str]:
    return run_script(script, *arguments, env=environ, given=given)


def succeed(environ: dict[str, str], script: str, *arguments: str) -> str:
    done = run(environ, script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_migrate_brings_an_empty_database_to_the_models(environ: dict[str, str]) -> None:
    assert "directory: empty -> " in succeed(environ, "migrate")
    assert "up to date" in succeed(environ, "migrate")
    assert "agree" in succeed(environ, "migrate", "--check")


def test_check_of_an_empty_database_fails_and_names_the_lineages(environ: dict[str, str]) -> None:
    done = run(environ, "migrate", "--check")
    assert done.returncode == 1
    assert "directory: behind by 0001_directory, " in done.stdout


def test_dry_run_of_migrate_changes_nothing(environ: dict[str, str]) -> None:
    assert "shard: behind" in succeed(environ, "migrate", "--dry-run")
    assert "shard: behind" in succeed(environ, "migrate", "--dry-run")


def test_bootstrap_makes_one_workspace_and_one_key(environ: dict[str, str]) -> None:
    succeed(environ, "migrate")
    first = json.loads(succeed(environ, "bootstrap", "--json"))
    assert first["key"].startswith("sp_live_")
    assert json.loads(succeed(environ, "bootstrap", "--json")) == {"key": None}


def test_create_key_needs_a_workspace(environ: dict[str, str]) -> None:
    succeed(environ, "migrate")
    done = run(environ, "create-key")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "scripts/bootstrap" in done.stderr


def test_created_key_has_the_scopes_asked_for(environ: dict[str, str]) -> None:
    succeed(environ, "migrate")
    succeed(environ, "bootstrap")
    made = json.loads(succeed(environ, "create-key", "--scope", "links:read", "--json"))
    assert made["key"].startswith("sp_live_")
    assert "Would make a key" in succeed(environ, "create-key", "--dry-run")


@pytest.mark.parametrize("script", ["migrate", "bootstrap", "create-key", "seed-demo", "purge"])
def test_script_without_its_database_says_so_in_one_line(
    script: str, environ: dict[str, str]
) -> None:
    environ["DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    done = run(environ, script)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", ["migrate", "bootstrap", "create-key", "seed-demo", "purge"])
def test_wrong_setting_is_named(script: str, environ: dict[str, str]) -> None:
    done = run(environ | {"PORT": "eighty"}, script)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "PORT" in done.stderr


@pytest.mark.parametrize(
    "script",
    (
        "migrate bootstrap create-key create-user users seed-demo consume-clicks openapi gateway"
    ).split(),
)
def test_help_explains_the_script(script: str, environ: dict[str, str]) -> None:
    assert "Usage:" in succeed(environ, script, "--help")


def test_demo_fills_a_workspace_and_its_statistics(environ: dict[str, str]) -> None:
    succeed(environ, "migrate")
    succeed(environ, "bootstrap")
    options = ("--links", "60", "--clicks", "800", "--json")
    assert "Would make 60 links" in succeed(environ, "seed-demo", *options, "--dry-run")
    made = json.loads(succeed(environ, "seed-demo", *options))
    assert made == {"links": 60, "refused": 0, "clicks": 800}
    again = json.loads(succeed(environ, "seed-demo", *options))
    assert again == {"links": 60, "refused": 0, "clicks": 800}
    assert counted(environ) == 1_600


def counted(environ: dict[str, str]) -> int:
    """The clicks that the statistics of the oldest workspace tell."""
    program = """
from datetime import UTC, datetime, timedelta
from sqlalchemy import text
from api.core.database.routing import Database
from config.settings import Settings
with Database(Settings.load()).read(0) as session:
    print(session.execute(text(
        "SELECT sum(clicks) FROM click_counts WHERE subject = 2 AND grain = 0"
    )).scalar_one())
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return int(done.stdout)


def test_set_plan_gives_a_workspace_a_plan_and_says_so_in_its_log(environ: dict[str, str]) -> None:
    succeed(environ, "migrate")
    succeed(environ, "bootstrap")
    workspace = json.loads(succeed(environ, "create-key", "--json"))["workspace_id"]
    environ["PLANS"] = '{"free": {"links_per_month": 5}}'

    would = succeed(environ, "set-plan", workspace, "free", "--dry-run")
    assert would == "Default: would be free (was none, so standard)\n"
    assert succeed(environ, "set-plan", workspace, "free") == (
        "Default: is now free (was none, so standard)\n"
    )
    done = json.loads(succeed(environ, "set-plan", workspace, "unlimited", "--json"))
    assert (done["plan"], done["before"]) == ("unlimited", "free")

    with psycopg2.connect(environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT actor_kind, details->>'plan' FROM audit_events"
            " WHERE action = 'workspace.plan' ORDER BY id"
        )
        assert cursor.fetchall() == [("operator", "free"), ("operator", "unlimited")]
    connection.close()


def test_set_plan_knows_only_plans_and_workspaces_that_there_are(environ: dict[str, str]) -> None:
    succeed(environ, "migrate")
    succeed(environ, "bootstrap")
    for arguments, told in ((("1", "gold"), "'gold'"), (("1", "standard"), "no such workspace")):
        done = run(environ, "set-plan", *arguments)
        assert done.returncode == 1
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
