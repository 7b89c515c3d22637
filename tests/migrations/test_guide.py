"""The worked examples of docs/migrations.md do what it says, and what it warns of is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, insert, text
from sqlalchemy.pool import NullPool

from api.core.database import lineages
from api.core.database.lineages import LINEAGES, move, newest_revision, revisions_after
from api.core.database.migrate import migrate
from api.models import METADATA
from config.settings import Settings
from tests.contracts.scratch import scratch_database
from tests.migrations.catalogue import parts, rows

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/migrations.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^<!-- (\w+)/(\w+)\.py( contract)? -->\n```python\n(.*?)^```$", re.M | re.S)
HEADS = {lineage: newest_revision(lineage) for lineage in LINEAGES}


@dataclass(frozen=True)
class Example:
    lineage: str
    name: str
    contracts: bool
    code: str

    @property
    def revision(self) -> str:
        return f"{self.name[:4]}_{self.lineage}"


EXAMPLES = sorted(
    (
        Example(lineage, name, bool(mark), code)
        for lineage, name, mark, code in EXAMPLE.findall(GUIDE)
    ),
    key=lambda example: (example.contracts, example.lineage, example.name),
)


def write_drafts(folder: Path, examples: list[Example]) -> None:
    """Files of revisions, each behind the one before, the first behind what there is."""
    before = dict(HEADS)
    for lineage in LINEAGES:
        (folder / lineage).mkdir(parents=True)
    for example in examples:
        head = f'revision = "{example.revision}"\ndown_revision = "{before[example.lineage]}"\n'
        path = folder / example.lineage / f"{example.name}.py"
        path.write_text(f"{example.code}\n\n{head}")
        before[example.lineage] = example.revision


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/lint-migrations"), "--drafts", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The examples as files."""
    folder = tmp_path_factory.mktemp("drafts")
    write_drafts(folder, EXAMPLES)
    yield folder


@pytest.fixture
def known(engine: Engine, drafts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples are revisions, behind those that the database has."""
    monkeypatch.setattr(lineages, "DRAFTS", [drafts])


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Of a migrated database with a user and some links."""
    with scratch_database(database_url) as url:
        settings = Settings.load({"DATABASE_URL": url})
        migrate(settings, report=lambda line: None)
        engine = create_engine(
            str(settings.database_url),
            poolclass=NullPool,
            connect_args={"options": "-c lock_timeout=20s"},
        )
        with engine.begin() as connection:
            connection.execute(
                text("INSERT INTO users (id, email, name) VALUES (1, 'ann@example.com', 'Ann Lee')")
            )
            connection.execute(
                text(
                    "INSERT INTO links (slot, id, workspace_id, domain, slug, url)"
                    " SELECT 1, n, 1, 'go.example.com', n::text, 'https://example.com'"
                    " FROM generate_series(1, 2500) AS n"
                )
            )
        yield engine


def create_as_today(connection: Connection, number: int) -> None:
    """What the code before the examples inserts and reads: its models."""
    links, users = METADATA["shard"].tables["links"], METADATA["directory"].tables["users"]
    link = {"slot": 2, "id": number, "workspace_id": 1, "domain": "d", "slug": str(number)}
    connection.execute(insert(links).values(**link, url="https://example.com"))
    connection.execute(insert(users).values(id=number, email=f"{number}@x.org", name="Bo Derek"))
    for table in (links, users):
        connection.execute(table.select().limit(1))
    connection.commit()


def test_the_guide_has_its_examples() -> None:
    assert [(example.revision, example.contracts) for example in EXAMPLES] == [
        ("0101_directory", False),
        ("0102_directory", False),
        ("0103_directory", False),
        ("0101_shard", False),
        ("0102_shard", False),
        ("0103_shard", False),
        ("0111_directory", True),
        ("0112_directory", True),
        ("0113_directory", True),
        ("0111_shard", True),
    ]


def test_the_linter_finds_nothing_in_the_examples(drafts: Path) -> None:
    done = lint(drafts)
    assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("known")
def test_examples_go_up_down_and_up_beside_the_code_before(engine: Engine) -> None:
    number = 10_000
    with engine.connect() as connection:
        for example in EXAMPLES:
            before = lineages.current_revision(connection, example.lineage)
            without = parts(connection)
            move(connection, example.lineage, example.revision)
            there = parts(connection)
            assert not [name for name, made in there.items() if "INVALID" in made]
            kept = rows(connection)
            if not example.contracts:
                create_as_today(connection, number := number + 1)
                kept = rows(connection)
            move(connection, example.lineage, str(before))
            assert parts(connection) == without, example.name
            move(connection, example.lineage, example.revision)
            assert parts(connection) == there, example.name
            if example.contracts:
                assert rows(connection) == kept, example.name
        people = connection.execute(
            text("SELECT name, handle, given_name, family_name FROM users ORDER BY id LIMIT 2")
        ).all()
        assert [tuple(row) for row in people] == [
            ("Ann Lee", "ann", "Ann", "Lee"),
            ("Bo Derek", "10001", "Bo", "Derek"),
        ]


@pytest.mark.usefixtures("known")
def test_old_rows_are_filled_in_batches_that_commit(engine: Engine) -> None:
    with engine.connect() as connection:
        move(connection, "shard", "0102_shard")
        connection.execute(text("UPDATE links SET note = 'read me'"))
        connection.commit()
        move(connection, "shard", "0103_shard")
        filled = text("SELECT count(*), count(DISTINCT xmin::text) FROM links WHERE remark = note")
        count, transactions = connection.execute(filled).one()
    assert count == 2500
    assert transactions == 3


@pytest.mark.usefixtures("known")
def test_an_index_that_was_killed_half_way_is_made_by_the_next(
    engine: Engine, drafts: Path
) -> None:
    url = engine.url.render_as_string(hide_password=False)
    code = (
        "import sys; from pathlib import Path; from sqlalchemy import create_engine\n"
        "from api.core.database import lineages\n"
        "lineages.DRAFTS.append(Path(sys.argv[1]))\n"
        "with create_engine(sys.argv[2]).connect() as connection:\n"
        "    lineages.move(connection, 'shard', '0102_shard')\n"
    )
    with engine.connect() as connection:
        move(connection, "shard", "0101_shard")
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as holder:
        # It waits for whoever sees the table as it was before, with the index half made.
        holder.execute(text("SELECT count(*) FROM links"))
        move_on = [sys.executable, "-c", code, str(drafts), url]
        process = subprocess.Popen(move_on, cwd=ROOT, env=os.environ)
        with engine.connect() as watcher:
            deadline = time.monotonic() + 20
            while "INVALID" not in parts(watcher).get("index ix_links_note", ""):
                watcher.rollback()
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.02)
        process.kill()
        process.wait()
        # The server does not notice at once that its client is gone; nor would it go on after a
        # restart of its own.
        with engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE 'CREATE INDEX%'"
                )
            )
    with engine.connect() as connection:
        assert "INVALID" in parts(connection)["index ix_links_note"]
        assert revisions_after("shard", lineages.current_revision(connection, "shard"))[0] == (
            "0102_shard"
        )
        move(connection, "shard", "0102_shard")
        assert "INVALID" not in parts(connection)["index ix_links_note"]


DANGERS = {
    "require-concurrent-index-creation": 'op.create_index("ix_planted", "links", ["title"])',
    "ban-drop-column": 'op.drop_column("links", "title")',
    "ban-drop-table": 'op.drop_table("link_totals")',
    "renaming-column": 'op.alter_column("links", "title", new_column_name="name")',
    "changing-column-type": 'op.alter_column("links", "version", type_=sa.BigInteger())',
    "adding-not-nullable-field": 'op.alter_column("links", "title", nullable=False)',
    "adding-required-field": 'op.add_column("links", sa.Column("x", sa.Text(), nullable=False))',
    "adding-foreign-key-constraint": (
        'op.create_foreign_key("fk", "click_erasures", "links", ["slot"], ["slot"])'
    ),
    "constraint-missing-not-valid": 'op.create_check_constraint("ck", "links", "slot < 9")',
    "disallowed-unique-constraint": 'op.create_unique_constraint("uq", "links", ["slot"])',
    "ban-concurrent-index-creation-in-transaction": (
        'op.create_index("ix", "links", ["title"], postgresql_concurrently=True)'
    ),
}


def test_planted_dangers_are_found(tmp_path: Path) -> None:
    planted = [
        Example(
            "shard",
            f"01{number:02}_planted",
            False,
            "import sqlalchemy as sa\nfrom alembic import op\n\n\n"
            f"def upgrade():\n    {danger}\n\n\ndef downgrade():\n    pass\n",
        )
        for number, danger in enumerate(DANGERS.values())
    ]
    write_drafts(tmp_path, planted)
    done = lint(tmp_path)
    assert done.returncode == 1
    for number, rule in enumerate(DANGERS):
        found = re.findall(rf"shard/01{number:02}_shard\.sql:.* warning: (\S+)", done.stdout)
        assert rule in found, done.stdout
