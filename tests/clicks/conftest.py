from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from api.clicks.enrichment.enricher import Enricher
from api.clicks.folder import SpoolFolder
from api.clicks.ingest import Counting, Ingest, RawSegment
from api.core.database.routing import Database
from api.links.service import add_clicks, find_places
from api.orphans.service import OrphanService
from api.stats.service import StatsService


@pytest.fixture(scope="session")
def enricher() -> Enricher:
    return Enricher(b"a secret of the installation")


@pytest.fixture
def ingest(db: Database, enricher: Enricher) -> Ingest:
    counting = Counting(
        find_places=find_places,
        fold=StatsService.fold,
        add_counts=StatsService.add,
        add_totals=add_clicks,
        add_orphans=OrphanService.add,
    )
    return Ingest(db, enricher, counting)


@dataclass(frozen=True)
class Counted:
    """What the database says of one link, by each way that it counts."""

    rows: int
    total: int
    quarters: int


@pytest.fixture
def counted(db: Database) -> Callable[[int], Counted]:
    def ask(link_id: int) -> Counted:
        with db.read(0) as session:

            def number(query: str) -> int:
                return int(session.scalar(text(query), {"link": link_id}) or 0)

            return Counted(
                number("SELECT count(*) FROM clicks WHERE link_id = :link"),
                number("SELECT sum(clicks) FROM link_totals WHERE link_id = :link"),
                number(
                    "SELECT sum(clicks) FROM click_counts"
                    " WHERE subject = 1 AND subject_id = :link AND grain = 0"
                ),
            )

    return ask


@pytest.fixture
def folder(tmp_path: Path) -> SpoolFolder:
    made = SpoolFolder(tmp_path / "spool")
    made.make()
    return made


@pytest.fixture
def put(folder: SpoolFolder) -> Callable[[RawSegment], Path]:
    """Lay a sealed segment into the folder."""

    def write(segment: RawSegment) -> Path:
        path = folder.path / f"{segment.name}.ready"
        path.write_bytes(segment.body)
        return path

    return write
