"""Databases for one test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url


@contextmanager
def scratch_database(beside: str, *, like: str = "template1") -> Iterator[str]:
    """The URL of a new database on the server of the database `beside`: empty, or a copy of one
    that nobody is connected to."""
    url = make_url(beside).set(drivername="postgresql+psycopg2")
    name = f"signpost_test_{uuid.uuid4().hex[:12]}"
    server = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{like}"'))
    try:
        made = url.set(drivername="postgresql", database=name)
        yield made.render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        server.dispose()
