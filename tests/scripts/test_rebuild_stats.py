"""`scripts/rebuild-stats`: counts are what raw clicks say."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api.clicks.enrichment.enricher import Enricher
from api.clicks.ingest import Counting, Ingest
from api.core.database.routing import Database
from api.links.service import add_clicks, find_places
from api.stats.service import StatsService
from config.settings import Settings
from tests.conftest import migrated_database
from tests.factories.clicks import a_click, a_link_id, a_segment, now_ms
from tests.scripting import run_script

DAY_MS = 86_400_000


def run(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_script("rebuild-stats", *arguments, env=os.environ | environ)


@dataclass
class Installation:
    """A database of its own, and what counts into it."""

    environ: dict[str, str]
    db: Database
    ingest: Ingest

    def number(self, query: str, **parameters: Any) -> int:
        with self.db.read(0) as session:
            return int(session.scalar(text(query), parameters) or 0)

    def execute(self, query: str, **parameters: Any) -> None:
        with self.db.write(0) as session:
            session.execute(text(query), parameters)

    def rebuild(self, *arguments: str) -> dict[str, Any]:
        done = run(self.environ, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told


@pytest.fixture
def installation(tmp_path: Path, enricher: Enricher) -> Iterator[Installation]:
    with migrated_database() as url:
        environ = {"DATABASE_URL": url, "SIGNPOST_HOME": str(tmp_path), "SECRET_KEY": "x" * 16}
        settings = Settings.load(environ)
        db = Database(settings)
        counting = Counting(
            find_places=find_places,
            fold=StatsService.fold,
            add_counts=StatsService.add,
            add_totals=add_clicks,
        )
        yield Installation(environ, db, Ingest(db, enricher, counting))
        db.dispose()


@pytest.fixture(scope="module")
def enricher() -> Enricher:
    return Enricher(b"a secret of the installation")


def count_some(installation: Installation, links: int = 5) -> list[int]:
    """Clicks of some links over fifty days, in many batches."""
    ids = [a_link_id() for _ in range(links)]
    now = now_ms()
    for batch in range(10):
        clicks = [
            a_click(
                link,
                at_ms=now - (batch * 5 + place) * DAY_MS,
                address=f"9.9.{batch % 3}.{place}",
                referrer=f"https://site{place % 4}.example/",
            )
            for link in ids
            for place in range(4)
        ]
        installation.ingest.ingest([a_segment(clicks, created_ms=now)])
    return ids


COUNTED = "SELECT sum(clicks) FROM click_counts WHERE subject = :subject AND grain = :grain"


def test_counts_differ_in_nothing_from_raw_clicks(installation: Installation) -> None:
    count_some(installation)
    told = installation.rebuild("--dry-run")
    assert told["total"]["clicks"] == 200
    assert told["total"]["counts"] > 200
    assert (told["total"]["differing"], told["total"]["clicks_apart"]) == (0, 0)
    assert len(told["months"]) >= 2


def test_what_is_wrong_is_told_and_made_right(installation: Installation) -> None:
    first, second, *_ = count_some(installation)
    installation.execute(
        "DELETE FROM click_counts WHERE subject = 1 AND subject_id = :id", id=first
    )
    installation.execute(
        "UPDATE click_counts SET clicks = clicks + 2, country = NULL"
        " WHERE subject = 1 AND subject_id = :id AND grain = 1",
        id=second,
    )
    found = installation.rebuild("--dry-run")["total"]
    assert found["differing"] > 0
    assert found["clicks_apart"] == 2 * 40 + 2 * 40
    assert installation.rebuild()["total"] == found
    assert installation.rebuild()["total"]["differing"] == 0
    for subject in (1, 2):
        for grain in (0, 1):
            assert installation.number(COUNTED, subject=subject, grain=grain) == 200


def test_a_dry_run_changes_nothing(installation: Installation) -> None:
    count_some(installation)
    installation.execute("DELETE FROM click_counts WHERE subject = 2")
    before = installation.number("SELECT count(*) FROM click_counts")
    assert installation.rebuild("--dry-run")["total"]["differing"] > 0
    assert installation.number("SELECT count(*) FROM click_counts") == before


def test_only_the_days_that_are_asked_for_are_rebuilt(installation: Installation) -> None:
    count_some(installation)
    installation.execute("DELETE FROM click_counts")
    day = datetime.now(UTC).date() - timedelta(days=3)
    told = installation.rebuild("--from", f"{day}", "--to", f"{day + timedelta(days=1)}")
    clicks = told["total"]["clicks"]
    assert clicks == installation.number(COUNTED, subject=1, grain=1) > 0
    assert (
        installation.number("SELECT count(DISTINCT start) FROM click_counts WHERE grain = 1") == 1
    )


def test_counts_whose_raw_clicks_are_gone_stay(installation: Installation) -> None:
    count_some(installation)
    horizon = datetime.now(UTC) - timedelta(days=20)
    installation.execute("INSERT INTO click_horizons VALUES (-1, 7, :moment)", moment=horizon)
    installation.execute("DELETE FROM clicks WHERE clicked_at < :moment", moment=horizon)
    installation.execute("DELETE FROM click_counts WHERE subject = 2")
    told = installation.rebuild()["total"]
    assert told["clicks_apart"] > 0
    assert installation.number(COUNTED, subject=1, grain=1) == 200
    # Of the workspace only what raw clicks still tell of whole days.
    left = installation.number(COUNTED, subject=2, grain=1)
    assert 0 < left < 200
    assert installation.rebuild()["total"]["differing"] == 0


def test_clicks_are_counted_under_the_tags_of_now(installation: Installation) -> None:
    link = a_link_id()
    installation.ingest.ingest([a_segment([a_click(link)] * 3)])
    installation.execute(
        "INSERT INTO links (slot, id, workspace_id, domain, slug, url, tags)"
        " VALUES (:slot, :id, 7, 'go.example', 's', 'https://example.com/', '{a,b}')",
        slot=link >> 12 & 1023,
        id=link,
    )
    assert installation.number(COUNTED, subject=4, grain=1) == 0
    assert installation.rebuild()["total"]["differing"] > 0
    assert installation.number(COUNTED, subject=4, grain=1) == 6
    assert installation.number(COUNTED, subject=3, grain=0) == 3


def test_clicks_that_arrive_during_a_rebuild_are_kept(installation: Installation) -> None:
    count_some(installation)
    installation.execute("DELETE FROM click_counts WHERE subject = 2")
    link, stop = a_link_id(), threading.Event()
    counted = 0

    def arrive() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += installation.ingest.ingest([a_segment([a_click(link)])]).clicks

    thread = threading.Thread(target=arrive)
    thread.start()
    try:
        installation.rebuild()
    finally:
        stop.set()
        thread.join()
    assert counted > 0
    for subject in (1, 2):
        for grain in (0, 1):
            assert installation.number(COUNTED, subject=subject, grain=grain) == 200 + counted
    assert installation.rebuild("--dry-run")["total"]["differing"] == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--from", "yesterday"], "--from"),
        (["--from", "2026-03-02", "--to", "2026-03-02"], "--from must be before --to"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    environ = {"SIGNPOST_HOME": str(tmp_path)}
    done = run(environ, *arguments)
    assert done.returncode != 0
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
