"""scripts/dead-letters: what could not be counted is looked at, replayed or dropped."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api.clicks.consumer import Consumer
from api.clicks.folder import SpoolFolder
from api.clicks.ingest import Ingest, RawSegment
from api.clicks.local_spool import LocalSpool
from api.clicks.queue.source import QueueSource
from api.core.database.routing import Database
from tests.clicks.brokers import messages_in, new_broker, put_into
from tests.factories.clicks import a_click, a_segment
from tests.scripting import run_script


@dataclass(frozen=True)
class Place:
    """Where dead letters are kept, with three of them."""

    environ: dict[str, str]
    letters: list[RawSegment]
    count: Callable[[], int]  # how many are there
    waiting: Callable[[], int]  # how many wait for a consumer

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_script("dead-letters", *arguments, env=os.environ | self.environ)

    def ask(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def poison() -> list[RawSegment]:
    return sorted(a_segment([a_click(1)] * 2, tail=b"{}\n") for _ in range(3))


@pytest.fixture
def in_spool(
    folder: SpoolFolder, ingest: Ingest, put: Callable[[RawSegment], Path], poison: list[RawSegment]
) -> Place:
    for segment in poison:
        put(segment)
    Consumer(LocalSpool(folder), ingest).drain()
    return Place(
        {"SIGNPOST_HOME": str(folder.path.parent)},
        poison,
        lambda: len(list((folder.path / "rejected").glob("*.ready"))),
        lambda: len(folder.ready_segments()),
    )


@pytest.fixture
def in_queue(ingest: Ingest, poison: list[RawSegment], tmp_path: Path) -> Iterator[Place]:
    with new_broker() as broker:
        put_into(broker, *poison)
        source = QueueSource(broker, 10)
        Consumer(source, ingest).drain()
        source.close()
        yield Place(
            {"AMQP_URL": broker.url, "AMQP_QUEUE": broker.queue, "SIGNPOST_HOME": str(tmp_path)},
            poison,
            lambda: messages_in(broker, broker.dead_queue),
            lambda: messages_in(broker, broker.queue),
        )


@pytest.fixture(params=["in_spool", pytest.param("in_queue", marks=pytest.mark.rabbitmq)])
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.getfixturevalue(request.param)
    assert (made.count(), made.waiting()) == (3, 0)
    return made


def test_a_list_tells_what_is_there_and_leaves_it(place: Place) -> None:
    told = place.ask("list")

    assert told["count"] == 3
    assert [letter["id"] for letter in told["data"]] == [one.name for one in place.letters]
    assert told["data"][0]["bytes"] == len(place.letters[0].body)
    assert "not the array of a click" in told["data"][0]["reason"]
    assert told["data"][0]["since"]
    lines = place.run("list", "--limit", "2").stdout.splitlines()
    assert len(lines) == 3
    assert lines[-1] == "3 in all, 2 shown"
    assert place.count() == 3


def test_one_is_shown_with_its_beginning_or_as_it_is(place: Place) -> None:
    letter = place.letters[1]

    told = place.ask("show", letter.name)

    assert told["id"] == letter.name
    assert told["first_lines"][0] == letter.body.split(b"\n")[0].decode()
    assert place.run("show", letter.name, "--raw").stdout.encode() == letter.body
    assert letter.name in place.run("show", letter.name).stdout
    assert place.count() == 3


def test_one_is_replayed(place: Place) -> None:
    letter = place.letters[1]
    assert place.ask("replay", letter.name, "--dry-run") == {
        "replayed": [letter.name],
        "dry_run": True,
    }
    assert place.count() == 3

    assert place.ask("replay", letter.name)["replayed"] == [letter.name]

    assert (place.count(), place.waiting()) == (2, 1)


def test_all_are_replayed(place: Place) -> None:
    assert place.run("replay", "--all").stdout == "Replayed 3 segments.\n"
    assert (place.count(), place.waiting()) == (0, 3)


def test_one_is_dropped_when_that_is_meant(place: Place) -> None:
    letter = place.letters[0]
    assert place.run("drop", letter.name).returncode == 2
    assert place.run("drop", letter.name, "--dry-run").returncode == 0
    assert place.count() == 3

    assert place.ask("drop", letter.name, "--yes")["dropped"] == [letter.name]

    assert (place.count(), place.waiting()) == (2, 0)


def test_what_is_dropped_is_told_in_the_audit_log(
    in_spool: Place, db: Database, database_url: str
) -> None:
    letter = in_spool.letters[0]
    done = in_spool.run("drop", letter.name, "--yes")
    assert "not in the audit log" in done.stderr  # nothing here names a database
    letter = in_spool.letters[1]
    in_spool.environ["DATABASE_URL"] = database_url
    in_spool.ask("drop", letter.name, "--yes")
    with db.read_directory() as session:
        (details,) = session.scalars(
            text("SELECT details FROM audit_events WHERE action = 'clicks.drop'")
        )
    assert details["segment"] == letter.name


def test_what_is_not_there_is_told_in_one_line(place: Place) -> None:
    for arguments in (["show", "none"], ["replay", "none"], ["drop", "../x", "--yes"]):
        done = place.run(*arguments)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1, done.stderr
    assert place.run("replay").returncode == 2
    assert place.run("replay", "x", "--all").returncode == 2


def test_a_broker_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    environ = {"AMQP_URL": "amqp://127.0.0.1:1/", "SIGNPOST_HOME": str(tmp_path)}
    place = Place(environ, [], lambda: 0, lambda: 0)
    done = place.run("list")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "AMQP_URL" in done.stderr
    assert place.ask("--spool", "list") == {"count": 0, "data": []}
