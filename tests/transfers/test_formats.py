"""The same rows in each format, packed as the client likes; and what spreadsheets make of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from tests.answers import problem, wrong_fields
from tests.caller import Caller
from tests.transfers.exported import exported, lines_of

NASTY = 'quote " comma , line\r\nbreak ü 😀'


@pytest.fixture
def links(caller: Caller) -> list[dict[str, Any]]:
    caller.create_link(title=NASTY, tags=["a,b", '"c"'], metadata={"n": [1, {"ü": None}]})
    caller.create_link(title="=1+1", slug=f"-2+{caller.workspace_id}".replace("+", "-"))
    caller.create_link(title="'=quoted", expires_at="2090-01-01T00:00:00Z", max_clicks=7)
    return exported(caller, "links")


def cells_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))


def test_csv_has_the_same_rows(caller: Caller, links: list[dict[str, Any]]) -> None:
    answer = caller.get("/exports/links?format=csv")
    assert answer.data.count(b"\r\n") == 1 + len(links) + NASTY.count("\r\n")
    for row, link in zip(cells_of(answer), links, strict=True):
        assert list(row) == list(link)
        for name, value in link.items():
            if value is None or value in ([], {}):
                assert row[name] == ""
            elif isinstance(value, str):
                assert row[name] == value
            else:
                assert json.loads(row[name]) == value


def test_formulas_are_defused_where_that_is_asked_for(
    caller: Caller, links: list[dict[str, Any]]
) -> None:
    for sign in "＝@\t\r+":
        caller.create_link(title=f"{sign}cmd|' /C calc'!A0")
    titles = [link["title"] for link in exported(caller, "links")]
    plain = cells_of(caller.get("/exports/links?format=csv&fields=title,slug,clicks"))
    assert [row["title"] for row in plain] == titles
    rows = cells_of(caller.get("/exports/links?format=csv&escape_formulas=true"))
    for row, title in zip(rows, titles, strict=True):
        assert row["title"] == (title if title[0] in "q'" else f"'{title}")
        assert not any(cell.startswith(tuple("=+-@\t\r\n＝＋－＠")) for cell in row.values())


def test_trailer_says_that_it_is_the_end(caller: Caller, links: list[dict[str, Any]]) -> None:
    answer = caller.get("/exports/links?format=csv&fields=id&trailer=true")
    assert answer.text.splitlines() == ["id", *(link["id"] for link in links), "#end,true,3,"]


def test_parquet_has_the_same_rows(caller: Caller, links: list[dict[str, Any]]) -> None:
    answer = caller.get(
        "/exports/links",
        headers={"Accept": "application/vnd.apache.parquet", "Accept-Encoding": "gzip"},
    )
    assert answer.content_type == "application/vnd.apache.parquet"
    assert "Content-Encoding" not in answer.headers
    table = pq.read_table(io.BytesIO(answer.data))
    assert table.column_names == list(links[0])
    for row, link in zip(table.to_pylist(), links, strict=True):
        row["metadata"] = json.loads(row["metadata"])
        for name in ("starts_at", "expires_at", "created_at", "updated_at", "last_clicked_at"):
            row[name] = row[name] and row[name].isoformat().replace("+00:00", "Z")
        assert row == link


def test_parquet_of_nothing_is_a_file(caller: Caller) -> None:
    answer = caller.get("/exports/clicks?format=parquet")
    assert pq.read_table(io.BytesIO(answer.data)).num_rows == 0


def test_parquet_says_what_it_lacks(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = problem(caller.get("/exports/clicks?format=parquet"), 501, "format-missing")
    assert told["detail"].endswith("pip install -r requirements/parquet.txt")
    # It took no place from others.
    for _ in range(3):
        assert exported(caller, "clicks") == []


def test_answer_is_packed_as_the_client_likes(caller: Caller, links: list[dict[str, Any]]) -> None:
    plain = caller.get("/exports/links").data
    for accepted, encoding, unpack in (
        ("gzip", "gzip", gzip.decompress),
        (
            "gzip, zstd",
            "zstd",
            lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
        ),
        ("gzip;q=0.9, zstd;q=0.5, br", "gzip", gzip.decompress),
        ("identity, gzip;q=0.5", None, bytes),
        ("gzip;q=0", None, bytes),
    ):
        answer = caller.get("/exports/links", headers={"Accept-Encoding": accepted})
        assert answer.headers.get("Content-Encoding") == encoding
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert unpack(answer.data) == plain


def test_format_is_chosen_by_name_or_by_accept(caller: Caller) -> None:
    for query, accept, chosen in (
        ("", "*/*", "application/x-ndjson"),
        ("", "application/json", "application/x-ndjson"),
        ("", "text/csv;q=0.9, application/x-ndjson;q=0.5", "text/csv; charset=utf-8"),
        ("format=ndjson", "text/csv", "application/x-ndjson"),
    ):
        answer = caller.get(f"/exports/links?{query}", headers={"Accept": accept})
        assert answer.content_type == chosen
        answer.close()
    assert wrong_fields(caller.get("/exports/links?format=xml")) == ["format"]


def test_head_tells_of_the_answer_and_keeps_no_place(caller: Caller) -> None:
    for _ in range(5):
        answer = caller.request("HEAD", "/exports/links?format=csv")
        assert answer.status_code == 200
        assert answer.headers["Content-Disposition"].endswith('.csv"')
        assert answer.data == b""
        answer.close()
    lines_of(caller.get("/exports/links"))
