"""A backup under load, and what is restored from it."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, create_engine, text

from api.app import create_app
from api.clicks.ingest import Ingest
from api.core.database.backups.programs import choose_programs
from api.core.database.routing import Database
from api.core.ids import slot_of_id
from config.kinds import database_url
from config.settings import Settings
from tests.backups.conftest import Office
from tests.backups.load import Load
from tests.caller import Caller
from tests.shards.conftest import HALF, Shards

# Links whose clicks are not the same by all three ways to count them.
_WRONG = text(
    """
    SELECT link_id, held.clicks, raw.clicks, counted.clicks
    FROM link_totals AS held
    FULL JOIN (SELECT link_id, count(*) AS clicks FROM clicks GROUP BY link_id) AS raw
        USING (link_id)
    FULL JOIN (
        SELECT subject_id AS link_id, sum(clicks) AS clicks FROM click_counts
        WHERE subject = 1 AND grain = 0 GROUP BY subject_id
    ) AS counted USING (link_id)
    WHERE held.clicks IS DISTINCT FROM raw.clicks OR raw.clicks IS DISTINCT FROM counted.clicks
    """
)


def a_pair(caller: Caller) -> list[dict[str, Any]]:
    """A link on each shard."""
    found: dict[bool, dict[str, Any]] = {}
    while len(found) < 2:
        link = caller.create_link("https://example.com/chain")
        found.setdefault(slot_of_id(int(link["id"])) >= HALF, link)
    return [found[False], found[True]]


def into(urls: dict[str, str]) -> list[str]:
    """Where to restore to."""
    return [part for name, url in urls.items() for part in ("--into", f"{name}={url}")]


def engines_of(urls: dict[str, str]) -> dict[str, Engine]:
    return {name: create_engine(database_url(url)) for name, url in urls.items()}


def schema_of(url: str, major: int) -> str:
    """All that is in a database but its rows."""
    program = choose_programs(major, "a test").folder / "pg_dump"
    done = subprocess.run(
        [program, "--schema-only", "--no-owner", f"--dbname={url}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return re.sub(r"\\(un)?restrict \S+|-- Dumped.*", "", done.stdout)


def test_what_is_restored_is_one_moment_of_all_databases(
    shards: Shards, ingest: Ingest, office: Office, empty: Callable[[], dict[str, str]]
) -> None:
    caller = shards.caller()
    pair = a_pair(caller)
    before = [caller.create_link(f"https://example.com/{number}") for number in range(20)]
    with Load(caller, ingest, pair) as load:
        while len(load.segments) < 5 or len(load.links) < 5:
            time.sleep(0.01)
        made_before = dict(load.links)
        said = office.backup()
    assert load.wrong == []
    assert said["databases"].keys() == {"main", "second"}
    urls = empty()
    office.restore(said["path"], *into(urls))

    major = int(said["databases"]["main"]["server_version"].partition(".")[0])
    engines = engines_of(urls)
    numbers = []
    for (name, engine), link in zip(engines.items(), pair, strict=True):
        with engine.connect() as connection:
            assert connection.execute(_WRONG).all() == []
            numbers.append(
                int(connection.scalar(text(f"SELECT title FROM links WHERE id = {link['id']}")))
            )
            assert connection.scalar(text("SELECT to_regclass('signpost_restore')")) is None
        source = shards.engines[name].url.set(drivername="postgresql")
        address = source.render_as_string(hide_password=False)
        assert schema_of(urls[name], major) == schema_of(address, major)
    assert numbers[0] - numbers[1] in (0, 1), numbers

    # A Signpost on the restored databases is the same, up to the point.
    settings = Settings.load(office.environ | {"DATABASE_URL": urls["main"]})
    app = create_app(settings)
    app.extensions["signpost"].start_worker()
    there = Caller(app, caller.identity, caller.workspace_id, caller.key)
    for link in [*before, *made_before.values(), *pair]:
        answer = there.get(f"/links/{link['id']}")
        assert answer.json["url"] == link["url"], answer.text
        assert app.test_client().get(f"/{link['slug']}").location == link["url"]
    # What was delivered is delivered again: what the backup had is counted once all the same.
    again = Ingest(Database(settings), ingest._enricher, ingest._counting).ingest(load.segments)
    assert again.repeated >= 5 * 6
    assert again.clicks + again.repeated == 6 * len(load.segments)
    for link in pair:
        assert there.get(f"/links/{link['id']}").json["clicks"] == 3 * len(load.segments)
    app.extensions["signpost"].stop_worker()
    app.extensions["signpost"].db.dispose()
    for engine in engines.values():
        with engine.connect() as connection:
            assert connection.execute(_WRONG).all() == []
        engine.dispose()
