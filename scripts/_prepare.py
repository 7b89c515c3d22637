#!/usr/bin/env python3
"""Bring the database to the schema of this code, and make the first API key; for scripts/start.

A process of its own, so that what this imports does not stay with the supervisor.
"""

from __future__ import annotations

import json

import _bootstrap
import click

from api.core.database.migrate import migrate
from api.identity.bootstrap import bootstrap
from config.private_files import write_whole
from config.settings import Settings


@click.command(help=__doc__)
def main() -> None:
    settings = Settings.load()
    migrate(settings, report=lambda _line: None)
    key = bootstrap(settings)
    if key is not None:
        write_whole(settings.signpost_home / "admin.key", f"{key}\n")
    click.echo(json.dumps({"key": key}))


if __name__ == "__main__":
    _bootstrap.NAME = "scripts/start"
    _bootstrap.run(main)
