#!/usr/bin/env python3
"""Bring the database to the schema of this code, and make the first API key; for scripts/start.

A process of its own, so that what this imports does not stay with the supervisor.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import _bootstrap
import click

from api.core.database.migrate import migrate
from api.identity.bootstrap import bootstrap
from config.settings import Settings


@click.command(help=__doc__)
def main() -> None:
    settings = Settings.load()
    migrate(settings, report=lambda _line: None)
    key = bootstrap(settings)
    if key is not None:
        _keep(settings.signpost_home / "admin.key", key)
    click.echo(json.dumps({"key": key}))


def _keep(path: Path, key: str) -> None:
    """Write the key where only we can read it, and never half of it."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{key}\n")
    draft.replace(path)


if __name__ == "__main__":
    _bootstrap.NAME = "scripts/start"
    _bootstrap.run(main)
