"""What becomes of the fields of other services: from their exports to rows that the API takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from api.core.slugs import check_custom_slug
from api.links.schemas import LINK_IN
from api.transfers.sources.catalogue import SOURCES
from api.transfers.sources.feed import Changes, FileFeed
from api.transfers.sources.files import InputFile
from api.transfers.sources.records import Record
from api.transfers.sources.rows import GENERAL_LOSSES, NO_NUMBER, NO_SLUG, Losses, Row

ROOT = Path(__file__).resolve().parents[3]
EXPORTS = sorted((ROOT / "tests" / "data" / "exports").iterdir())
# What a row has beside the fields of a new link.
_OF_THE_PAST = ("created_at", "clicks", "last_clicked_at")


def rows_of(path: Path, changes: Changes | None = None) -> list[Row]:
    return feed_of(path, changes)[0]


def feed_of(path: Path, changes: Changes | None = None) -> tuple[list[Row], dict[str, int]]:
    """The rows of an export, and how often something of a field is not kept."""
    file = InputFile(str(path))
    try:
        feed = FileFeed(file, SOURCES[path.stem], changes or Changes())
        rows = [json.loads(line) for line in feed.lines(0)]
    finally:
        file.close()
    return rows, {loss.field: count for loss, count in feed.losses.items()}


def export(name: str) -> Path:
    return ROOT / "tests" / "data" / "exports" / name


def mapped(service: str, **fields: Any) -> tuple[list[Row], Losses]:
    """The rows of one record."""
    losses = Losses()
    source = SOURCES[service]
    zone = ZoneInfo("UTC")
    return list(source.rows_of([Record(fields)], losses, zone)), losses


def test_there_is_an_export_of_each_service() -> None:
    assert {path.stem for path in EXPORTS} == set(SOURCES)


@pytest.mark.parametrize("path", EXPORTS, ids=lambda path: path.name)
def test_each_row_is_one_that_the_api_takes(path: Path) -> None:
    rows = rows_of(path)
    assert len(rows) >= 2
    for row in rows:
        new = {name: value for name, value in row.items() if name not in _OF_THE_PAST}
        LINK_IN.load(new)
        check_custom_slug(row["slug"], multi_segment=True)
        assert row.get("clicks", 0) >= 0


def test_shlink_by_its_api() -> None:
    rows, lost = feed_of(export("shlink.json"))
    assert rows == [
        {
            "url": "https://example.com/spring?ref=mail",
            "slug": "spring",
            "domain": "s.example.com",
            "title": "Spring sale",
            "tags": ["sale", "mail"],
            "starts_at": "2021-02-28T23:00:00Z",
            "expires_at": "2031-03-31T21:59:59Z",
            "max_clicks": 5000,
            "forward_query": True,
            "created_at": "2021-03-01T09:15:30Z",
            "clicks": 1204,
        },
        {
            "url": "https://example.org/",
            "slug": "a/b",
            "domain": "other.example.com",
            "forward_query": False,
            "created_at": "2023-11-20T08:00:00Z",
            "clicks": 3,
        },
    ]
    assert lost == {"redirect rules": 1, "deviceLongUrls": 1, "crawlable": 1}


def test_shlink_by_its_web_client() -> None:
    first, second = rows_of(export("shlink.csv"))
    assert (first["tags"], first["title"], first["clicks"]) == (
        ["sale", "mail"],
        "Spring, sale",
        1204,
    )
    assert second["slug"] == "x7Kq2"
    assert "tags" not in second
    assert "forward_query" not in second


def test_kutt_disables_what_asked_for_a_password() -> None:
    rows, lost = feed_of(export("kutt.json"))
    assert [row.get("state") for row in rows] == [None, "disabled", "disabled"]
    assert [row["domain"] for row in rows] == [
        "kutt.example.com",
        "go.example.com",
        "kutt.example.com",
    ]
    assert rows[0]["title"] == "The documents"
    assert rows[1]["expires_at"] == "2031-01-01T00:00:00Z"
    assert lost == {"password": 1}


def test_kutt_by_its_table() -> None:
    rows, lost = feed_of(export("kutt.csv"))
    assert [row.get("state") for row in rows] == [None, "disabled"]
    assert rows[0]["created_at"] == "2022-05-04T12:00:00Z"
    assert lost == {"password": 1, "domain_id": 1}


def test_yourls_by_its_api() -> None:
    first, second = rows_of(export("yourls.json"))
    assert first == {
        "url": "https://ozh.org/?a=1&b=2",
        "slug": "ozh",
        "domain": "sho.rt",
        "title": "planetOzh",
        "created_at": "2019-06-01T14:00:00Z",
        "clicks": 99,
    }
    assert second["clicks"] == 0


def test_dates_without_a_zone_are_of_the_zone_that_is_named() -> None:
    row = rows_of(export("yourls.json"), Changes(zone=ZoneInfo("Europe/Berlin")))[0]
    assert row["created_at"] == "2019-06-01T12:00:00Z"
    # One that names its zone is what it says.
    assert rows_of(export("bitly.csv"), Changes(zone=ZoneInfo("Europe/Berlin")))[2][
        "created_at"
    ] == ("2021-05-06T15:20:52Z")


def test_yourls_by_a_dump_reads_that_table_only() -> None:
    rows = rows_of(export("yourls.sql"))
    assert [row["slug"] for row in rows] == ["ozh", "1f", "hex"]
    assert rows[0]["title"] == 'YOURLS\' "own"; page'
    assert "title" not in rows[1]
    assert rows[2]["url"] == "https://hex.example/"
    assert rows[2]["title"] == "It's ä"


def test_bitly_keeps_each_back_half_and_counts_clicks_once() -> None:
    rows, _ = feed_of(export("bitly.csv"))
    assert [(row["domain"], row["slug"], row["clicks"]) for row in rows] == [
        ("go.example.com", "2Diay99", 1204),
        ("go.example.com", "launch", 0),
        ("bit.ly", "3usiGLP", 0),
    ]
    assert rows[2]["state"] == "disabled"
    rows, lost = feed_of(export("bitly.json"))
    assert [row["slug"] for row in rows] == ["2Diay99", "launch", "start", "3usiGLP"]
    assert rows[3]["metadata"] == {"archived": True}
    assert "state" not in rows[3]
    assert lost == {"deeplinks": 1, "clicks": 2}


def test_dub_keeps_notes_and_passwords() -> None:
    rows, lost = feed_of(export("dub.json"))
    assert rows[0]["password"] == "open sesame"
    assert rows[0]["metadata"] == {
        "description": "The trial",
        "comments": "ask Ann",
        "externalId": "crm-17",
        "archived": True,
    }
    assert rows[0]["last_clicked_at"] == "2025-12-31T23:59:59Z"
    assert rows[1]["state"] == "disabled"
    assert lost == dict.fromkeys(
        "ios geo expiredUrl image trackConversion leads sales folderId".split(), 1
    )
    assert rows_of(export("dub.csv"))[0]["tags"] == ["trial", "beta"]


def test_what_is_too_long_is_cut_and_counted() -> None:
    rows, losses = mapped(
        "shlink",
        longUrl="https://example.com/",
        shortCode="x",
        title="t" * 501,
        tags=["u" * 51, *map(str, range(30))],
        dateCreated="the day before yesterday",
    )
    assert len(rows[0]["title"]) == 500
    assert [len(tag) for tag in rows[0]["tags"]][:2] == [50, 1]
    assert len(rows[0]["tags"]) == 20
    assert "created_at" not in rows[0]
    assert {loss.field for loss in losses} == {"title", "tags", "dates"}


@pytest.mark.parametrize(
    ("service", "clicks"),
    [
        ("shlink", "visits"),
        ("kutt", "visit_count"),
        ("yourls", "clicks"),
        ("bitly", "Engagements"),
        ("dub", "clicks"),
    ],
)
@pytest.mark.parametrize("told", ["notnum", "-5", -5, "1.5"])
def test_clicks_that_are_no_number_are_counted(service: str, clicks: str, told: Any) -> None:
    address = {"shortLink": "https://s.test/x", "link": "https://s.test/x", "keyword": "x"}
    rows, losses = mapped(service, **address, shortCode="x", **{clicks: told})
    assert "clicks" not in rows[0]
    assert losses == {NO_NUMBER: 1}
    rows, losses = mapped(service, **address, shortCode="x", **{clicks: "1,234"})
    assert rows[0]["clicks"] == 1234
    assert not losses


@pytest.mark.parametrize("service", SOURCES)
def test_row_without_a_slug_is_counted(service: str) -> None:
    rows, losses = mapped(service, keyword="", link="", url="https://example.com/", clicks=1)
    assert "slug" not in rows[0]
    assert losses == {NO_SLUG: 1}


def test_password_that_is_too_long_disables_the_link() -> None:
    rows, losses = mapped("dub", url="https://example.com/", key="x", password="p" * 257)
    assert rows[0]["state"] == "disabled"
    assert "password" not in rows[0]
    assert [loss.field for loss in losses] == ["password"]


def test_record_without_a_target_is_still_a_row() -> None:
    for service in SOURCES:
        rows, _ = mapped(service)
        assert [row["url"] for row in rows] == [""], service


def test_guide_names_all_that_is_not_kept() -> None:
    guide = (ROOT / "docs" / "importing.md").read_text(encoding="utf-8")
    sections = dict(_sections(guide))
    for loss in GENERAL_LOSSES:
        assert f"`{loss.field}`" in sections["In general"], loss
    for source in SOURCES.values():
        for loss in source.losses:
            assert f"`{loss.field}`" in sections[source.title], (source.title, loss)


def _sections(guide: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^## ", guide, flags=re.MULTILINE)[1:]:
        title, _, text = part.partition("\n")
        yield title.strip(), text
