"""Imported first by every script: finds the code and its dependencies, and says errors shortly."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

ROOT = Path(__file__).resolve().parents[1]
_SCRIPT = Path(sys.argv[0]).absolute()
NAME = f"{_SCRIPT.parent.name}/{_SCRIPT.name.removeprefix('_').removesuffix('.py')}"
_VENV = ROOT / ".venv"
_NEEDED = ("click", "sqlalchemy", "psycopg2", "gevent", "structlog", "ada_url")


def _find_dependencies() -> None:
    """Go on in .venv if this Python lacks what we need."""
    if all(importlib.util.find_spec(name) for name in _NEEDED):
        return
    python = _VENV / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != _VENV.resolve():
        os.execv(python, [str(python), *sys.argv])  # nosec B606 # noqa: S606
    sys.exit(
        "Signpost's dependencies are not installed: "
        "run scripts/start (or pip install -r requirements.txt)"
    )


def _find_home() -> None:
    """SIGNPOST_HOME as it is meant: from the current folder if given, else beside the code."""
    given = os.environ.get("SIGNPOST_HOME")
    home = Path(given).expanduser() if given else ROOT / "var"
    os.environ["SIGNPOST_HOME"] = str(home.absolute())


def run(command: click.Command) -> None:
    """Run a script's command; what can be expected to go wrong is one line and status 1."""
    import click  # noqa: PLC0415 - not there before the dependencies are found

    # What is logged on the way to an error would only repeat it; services configure their own logs.
    logging.getLogger().addHandler(logging.NullHandler())
    # But for this: a change that the audit log does not know of is told here, with all its facts.
    logging.getLogger("api.audit").addHandler(logging.StreamHandler())
    logging.getLogger("api.audit").propagate = False
    try:
        command.main(prog_name=NAME, standalone_mode=True)
    except BrokenPipeError:
        # Whoever read our output has seen enough. Nothing can be flushed any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        reason = explain(error)
        if reason is None:
            report(error)
            raise
        click.echo(f"{NAME}: {reason}", err=True)
        sys.exit(1)


def report(error: Exception) -> None:
    """Tell of what nobody could expect, where a Sentry is named."""
    from api.core.reports.starting import report as report_error  # noqa: PLC0415
    from config.settings import Settings, SettingsError  # noqa: PLC0415

    with contextlib.suppress(SettingsError):
        report_error(Settings.load(), NAME, error)


def explain(error: Exception) -> str | None:
    """One line for the people who run us; None for what nobody could expect."""
    import psycopg2  # noqa: PLC0415
    import redis  # noqa: PLC0415
    import sqlalchemy.exc  # noqa: PLC0415

    from api.core.database.migrate import MigrationError  # noqa: PLC0415
    from api.core.embedded.errors import EmbeddedError  # noqa: PLC0415
    from api.core.errors import DomainError  # noqa: PLC0415
    from config.settings import SettingsError  # noqa: PLC0415

    if isinstance(error, DomainError) and isinstance(
        error.__cause__, sqlalchemy.exc.DBAPIError | psycopg2.Error
    ):
        error = error.__cause__
    if isinstance(error, sqlalchemy.exc.DBAPIError) and isinstance(error.orig, Exception):
        error = error.orig
    if isinstance(error, psycopg2.errors.UndefinedTable):
        return "the database has no schema yet: run scripts/migrate"
    if isinstance(error, psycopg2.OperationalError | psycopg2.ProgrammingError):
        return f"DATABASE_URL: {first_line(error)}"
    if isinstance(error, sqlalchemy.exc.ArgumentError):
        return f"DATABASE_URL: {first_line(error)}"
    if isinstance(error, redis.RedisError):
        return f"REDIS_URL: {first_line(error)}"
    expected = SettingsError | EmbeddedError | DomainError | MigrationError | OSError
    if isinstance(error, expected):
        return first_line(error)
    return None


def first_line(error: Exception) -> str:
    """The beginning of a message, with the password of a URL left out."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"(//[^:/@]*):.*@", r"\1:***@", text)


sys.path.insert(0, str(ROOT))
_find_dependencies()
_find_home()
