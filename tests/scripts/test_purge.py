"""`scripts/purge` as a process, against a database of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from api.clicks.months import month_of, next_month
from api.core.database.routing import Database
from api.core.ids import slot_of_id
from api.identity.service import IdentityService
from config.settings import Settings
from tests.conftest import migrated_database
from tests.factories.clicks import a_click, a_link_id, a_segment
from tests.scripting import run_script

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.now(UTC)


class House:
    """A migrated database, its environment and one workspace."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        settings = Settings.load(environ)
        self.db = Database(settings)
        self.identity = IdentityService(self.db, settings.resolved_secret_key())
        self.workspace = self.identity.create_workspace("Test").id
        url = make_url(environ["DATABASE_URL"])
        self.connection = psycopg2.connect(url.render_as_string(hide_password=False))
        self.connection.autocommit = True

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return run_script("purge", *arguments, env=self.environ | environ)

    def purge(self, *arguments: str, **environ: str) -> Any:
        done = self.run("--json", *arguments, **environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def visit(self, link: int, *days_ago: float, workspace: int | None = None) -> None:
        """A click on each of some days ago, through spool and consumer."""
        moments = [NOW - timedelta(days=days) for days in days_ago]
        clicks = [
            a_click(
                link,
                workspace_id=workspace or self.workspace,
                at_ms=int(moment.timestamp() * 1000),
            )
            for moment in moments
        ]
        segment = a_segment(clicks)
        spool = Path(self.environ["SIGNPOST_HOME"]) / "spool"
        spool.mkdir(exist_ok=True)
        (spool / f"{segment.name}.ready").write_bytes(segment.body)
        run_script("consume-clicks", "--once", env=self.environ).check_returncode()

    def keep(self, days: int | None, workspace: int | None = None) -> None:
        self.identity.update_workspace(workspace or self.workspace, {"click_retention_days": days})

    def ask(self, query: str) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return [row[0] for row in cursor.fetchall()]

    def clicks(self) -> int:
        return int(self.ask("SELECT count(*) FROM clicks")[0])

    def months(self) -> list[str]:
        """The months that have a table, attached or not."""
        names = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^clicks_y'"
        return sorted(name.removeprefix("clicks_y").replace("m", "-") for name in self.ask(names))


def month(days_ago: float) -> str:
    return f"{NOW - timedelta(days=days_ago):%Y-%m}"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with migrated_database() as url:
        made = House(
            {
                **os.environ,
                "DATABASE_URL": url,
                "REDIS_URL": "",
                "SIGNPOST_HOME": str(tmp_path),
                "SECRET_KEY": "a secret of the tests only",
                "LOG_LEVEL": "WARNING",
            }
        )
        yield made
        made.connection.close()
        made.db.dispose()


def test_without_a_retention_nothing_is_deleted(house: House) -> None:
    house.visit(a_link_id(), 1, 4_000)
    assert house.purge() == {
        "dry_run": False,
        "dropped": [],
        "deleted": [],
        "in_use": [],
        "clicks": 0,
    }
    assert "nothing is past its retention" in house.run().stdout
    assert house.clicks() == 2


def test_months_that_nobody_keeps_are_dropped_and_the_rest_is_deleted(house: House) -> None:
    patient = house.identity.create_workspace("Patient").id
    house.keep(400, patient)
    house.keep(30)
    house.visit(a_link_id(), 1, 100, 200, 500)
    house.visit(a_link_id(), 1, 100, 200, 500, workspace=patient)
    before = house.months()
    done = house.purge()
    assert [entry["month"] for entry in done["dropped"]] == [month(500)]
    assert done["deleted"] == [
        {"workspace": str(house.workspace), "month": name, "clicks": 1}
        for name in (month(200), month(100))
    ]
    assert done["clicks"] == 2
    assert house.months() == [name for name in before if name != month(500)]
    assert house.clicks() == 4
    horizons = house.ask("SELECT complete_from FROM click_horizons ORDER BY complete_from")
    midnight = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    assert horizons == [midnight - timedelta(days=400), midnight - timedelta(days=30)]


def test_the_setting_counts_where_a_workspace_says_nothing(house: House) -> None:
    house.visit(a_link_id(), 1, 45, 500)
    other = house.identity.create_workspace("Other").id
    house.keep(60, other)
    house.visit(a_link_id(), 1, 45, 500, workspace=other)
    house.purge(CLICK_RETENTION_DAYS="30")
    assert house.clicks() == 3
    assert month(500) not in house.months()


def test_one_workspace_that_keeps_all_keeps_every_month(house: House) -> None:
    house.identity.create_workspace("For ever")
    house.keep(30)
    house.visit(a_link_id(), 500)
    done = house.purge()
    assert done["dropped"] == []
    assert done["clicks"] == 1
    assert month(500) in house.months()


def test_dry_run_tells_what_would_be_deleted_and_changes_nothing(house: House) -> None:
    house.keep(30)
    house.visit(a_link_id(), 1, 500)
    other = house.identity.create_workspace("Patient").id
    house.keep(1_000, other)
    house.visit(a_link_id(), 900, 1_500, workspace=other)
    dry = house.purge("--dry-run")
    assert dry["dry_run"] is True
    assert dry["clicks"] == 1
    assert [entry["month"] for entry in dry["dropped"]] == [month(1_500)]
    assert house.clicks() == 4
    assert house.ask("SELECT count(*) FROM click_horizons") == [0]
    told = house.run("--dry-run").stdout
    assert f"{month(500)}: 1 clicks of workspace {house.workspace} would be deleted" in told
    assert f"{month(1_500)}: would be dropped whole" in told
    done = house.purge()
    assert {**done, "dry_run": True} == dry


def test_one_workspace_alone_can_be_purged(house: House) -> None:
    other = house.identity.create_workspace("Other").id
    for workspace in (house.workspace, other):
        house.keep(30, workspace)
        house.visit(a_link_id(), 500, workspace=workspace)
    done = house.purge("--workspace", str(other))
    assert done["dropped"] == []
    assert done["deleted"] == [{"workspace": str(other), "month": month(500), "clicks": 1}]
    assert house.clicks() == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch", "0"], "--batch"),
        (["--batch", "many"], "--batch"),
        (["--workspace", "acme"], "--workspace"),
        (["--workspace", "77"], "no such workspace"),
        (["--everything"], "--everything"),
        (["surplus"], "surplus"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_deleted(
    house: House, arguments: list[str], said: str
) -> None:
    done = house.run(*arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_wrong_setting_is_named(house: House) -> None:
    done = house.run(CLICK_RETENTION_DAYS="-1")
    assert done.returncode == 1
    assert "CLICK_RETENTION_DAYS" in done.stderr


def test_help_explains_the_script(house: House) -> None:
    assert "--dry-run" in house.run("--help").stdout


def test_a_purge_that_was_killed_is_continued_by_the_next(house: House) -> None:
    house.identity.create_workspace("For ever")
    house.keep(30)
    house.visit(a_link_id(), *(500 + number / 100_000 for number in range(4_000)))
    command = [sys.executable, ROOT / "scripts" / "purge", "--batch", "1"]
    process = subprocess.Popen(command, env=house.environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while house.clicks() == 4_000 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    left = house.clicks()
    assert 0 < left < 4_000
    assert house.purge()["clicks"] == left
    assert house.clicks() == 0


def test_a_month_that_somebody_reads_is_hidden_at_once_and_dropped_later(house: House) -> None:
    house.keep(30)
    house.visit(a_link_id(), 1, 500)
    reader = psycopg2.connect(house.connection.dsn)
    reader.set_session(isolation_level="REPEATABLE READ")
    with reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM clicks")
        done = house.run()
        assert done.returncode == 1
        assert done.stderr.strip().endswith(
            f"in use, and only hidden so far: {month(500)}; run it again later"
        )
        assert house.clicks() == 1
        cursor.execute("SELECT count(*) FROM clicks")
        assert cursor.fetchone() == (2,)  # whoever was reading goes on undisturbed
    reader.rollback()
    assert month(500) in house.months()
    assert [entry["month"] for entry in house.purge()["dropped"]] == [month(500)]
    assert month(500) not in house.months()
    reader.close()


@pytest.mark.parametrize("pending", [True, False])
def test_late_clicks_go_into_a_month_that_a_purge_left_half_dropped(
    house: House, pending: bool
) -> None:
    house.keep(30)
    link = a_link_id()
    house.visit(link, 500)
    table = f"clicks_y{month(500).replace('-', 'm')}"
    detach = f"ALTER TABLE clicks DETACH PARTITION {table} CONCURRENTLY"
    if pending:
        reader = psycopg2.connect(house.connection.dsn)
        reader.cursor().execute("SELECT count(*) FROM clicks")
        house.connection.cursor().execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            house.connection.cursor().execute(detach)
        reader.close()
    else:
        house.connection.cursor().execute(detach)
    assert house.clicks() == 0
    house.visit(link, 500 + 1 / 86_400)
    assert house.clicks() == 2
    assert [entry["month"] for entry in house.purge()["dropped"]] == [month(500)]
    assert house.clicks() == 0


def test_a_month_that_a_purge_detached_and_did_not_drop_is_dropped_by_the_next(
    house: House,
) -> None:
    house.keep(30)
    house.visit(a_link_id(), 500)
    table = f"clicks_y{month(500).replace('-', 'm')}"
    house.connection.cursor().execute(f"ALTER TABLE clicks DETACH PARTITION {table}")
    assert [entry["month"] for entry in house.purge()["dropped"]] == [month(500)]
    assert month(500) not in house.months()


def test_the_consumer_purges_erases_and_makes_months_by_itself(house: House) -> None:
    house.identity.create_workspace("For ever")
    house.keep(30)
    erased, kept = a_link_id(), a_link_id()
    house.visit(erased, 1)
    house.visit(kept, 1, 500)
    house.connection.cursor().execute(
        "INSERT INTO click_erasures (slot, link_id, workspace_id, erased_until, requested_at)"
        " VALUES (%s, %s, %s, now(), now() - interval '2 minutes')",
        (slot_of_id(erased), erased, house.workspace),
    )
    script = ROOT / "scripts" / "consume-clicks"
    consumer = subprocess.Popen([sys.executable, script], env=house.environ)
    try:
        deadline = time.monotonic() + 60
        unfinished = "SELECT count(*) FROM click_erasures WHERE finished_at IS NULL"
        while house.clicks() > 1 or house.ask(unfinished) != [0]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        consumer.terminate()
        assert consumer.wait(30) == 0
    assert house.ask("SELECT link_id FROM clicks") == [kept]
    next_but_one = next_month(next_month(month_of(datetime.now(UTC))))
    assert f"{next_but_one:%Y-%m}" in house.months()


def test_purges_at_the_same_time_do_not_disturb_each_other(house: House) -> None:
    patient = house.identity.create_workspace("Patient").id
    house.keep(400, patient)
    house.keep(30)
    house.visit(a_link_id(), 500, *(100 + number / 1_000 for number in range(300)))
    command = [sys.executable, ROOT / "scripts" / "purge", "--batch", "10", "--json"]
    running = [
        subprocess.Popen(command, env=house.environ, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sum(done["clicks"] for done in told) == 300
    assert house.clicks() == 0
    assert month(500) not in house.months()
