"""What is taken for an import, what is not, and how one is gone on with."""

from __future__ import annotations

import gzip
import io
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import zstandard

from api.app import create_app
from api.core.database.routing import Database
from api.transfers.imports.receiving import TakenOver
from api.transfers.imports.service import Asked, ImportService, Source, purge_imports
from config.plans import Plan
from config.settings import Settings
from tests.caller import Caller
from tests.transfers.imports.importer import Importer, counts, ndjson

ROWS = [{"url": f"https://example.com/{number}"} for number in range(2_500)]
BODY = ndjson(ROWS)


def multi(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:])


def frames(data: bytes) -> bytes:
    half = len(data) // 2
    return zstandard.compress(data[:half]) + zstandard.compress(data[half:])


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("gzip", multi), ("zstd", zstandard.compress), ("zstd", frames)],
)
def test_packed_body_is_unpacked(importer: Importer, encoding: str, pack: Any) -> None:
    answer = importer.send(pack(BODY), Content_Encoding=encoding)
    assert (answer.status_code, (answer.json or {})["rows"]) == (202, len(ROWS))
    assert answer.headers["Location"] == f"/api/v1/imports/{(answer.json or {})['id']}"


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", b"nothing of the kind", 400),
        ("zstd", b"nothing of the kind", 400),
        ("gzip", gzip.compress(BODY)[:-9], 400),
        ("zstd", zstandard.compress(BODY)[:-1], 400),
        ("br", b"", 415),
    ],
)
def test_body_that_cannot_be_unpacked_is_refused(
    importer: Importer, encoding: str, body: bytes, status: int
) -> None:
    answer = importer.send(body, Content_Encoding=encoding)
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"


def bomb(kind: str) -> Iterator[bytes]:
    """128 MiB of what is hardly anything, packed."""
    row = b'{"url": "https://example.com/"}\n' if kind.endswith("rows") else b"\0" * 32
    block = row * (1 << 15)
    if kind.startswith("gzip"):
        packer: Any = zlib.compressobj(9, zlib.DEFLATED, 31)
    else:
        packer = zstandard.ZstdCompressor(level=19).compressobj()
    for _ in range(128):
        if piece := packer.compress(block):
            yield piece
    yield packer.flush()


@pytest.mark.parametrize(
    "kind",
    [
        *(pytest.param(f"{kind} of rows", marks=pytest.mark.slow) for kind in ("gzip", "zstd")),
        "gzip of a line",
        "zstd of a line",
    ],
)
def test_bomb_is_refused_before_it_goes_off(importer: Importer, kind: str) -> None:
    body = b"".join(bomb(kind))
    assert len(body) < 1 << 20
    answer = importer.send(body, Content_Encoding=kind[:4])
    assert answer.status_code == 413
    (kept,) = (importer.caller.get("/imports").json or {})["data"]
    assert kept["state"] == "receiving"
    assert kept["rows"] * 32 < 8 << 20
    assert kept["problem"]["status"] == 413


def test_large_window_of_zstd_is_refused(importer: Importer) -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=26, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    body = packer.compress(BODY) + packer.flush()
    assert importer.send(body, Content_Encoding="zstd").status_code == 400


@pytest.mark.parametrize(
    ("header", "body", "status"),
    [
        ("text/csv", b"", 422),
        ("text/csv", b"slug,title\n", 422),
        ("text/csv", b"url,urls\n", 422),
        ("text/csv", b"url,url\n", 422),
        ("text/csv", b'url\n"https://example.com/"x\n', 400),
        ("text/csv", b'url\n"' + b"x\n" * 200_000, 400),
        ("text/csv", b"url\n" + b'"x","' * 60_000, 413),
        ("application/json", b"{}", 415),
        ("", b"{}", 415),
    ],
)
def test_body_that_is_no_table_is_refused(
    importer: Importer, header: str, body: bytes, status: int
) -> None:
    assert importer.send(body, Content_Type=header).status_code == status


def test_body_larger_than_others_may_be_is_taken(importer: Importer) -> None:
    limit = importer.caller.app.config["MAX_CONTENT_LENGTH"]
    row = ndjson([{"url": "https://example.com/", "title": "x" * 400}])
    body = row * (limit // len(row) + 100)
    answer = importer.send(body, "dry_run=true")
    assert answer.status_code == 202
    assert (answer.json or {})["rows"] * len(row) == len(body) > limit


@pytest.mark.parametrize("query", ["conflict=maybe", "dry_run=2", "from_row=-1", "other=1"])
def test_query_that_does_not_validate_answers_422(importer: Importer, query: str) -> None:
    assert importer.send(ROWS[:1], query).status_code == 422


def broken(importer: Importer, key: str, rows: int = 1_500, **more: str) -> dict[str, Any]:
    """An import whose body broke off."""
    data = b'{"url": "https://example.com/0"}\n' if rows == 1 else ndjson(ROWS[:rows])
    packed = gzip.compress(data)[:-8]
    answer = importer.send(packed, Idempotency_Key=key, Content_Encoding="gzip", **more)
    assert answer.status_code == 400
    (found,) = (importer.caller.get(f"/imports?idempotency_key={key}").json or {})["data"]
    assert found["state"] == "receiving"
    return dict(found)


def test_broken_import_goes_on_from_the_beginning(importer: Importer) -> None:
    key = secrets.token_hex(8)
    begun = broken(importer, key)
    assert begun["rows"] == 1_500
    assert begun["problem"]["type"].endswith("body-incomplete")
    done = importer.run(BODY, Idempotency_Key=key)
    assert (done["id"], done["created"], done["problem"]) == (begun["id"], len(ROWS), None)
    told = importer.outcomes(done)
    assert [row["row"] for row in told] == [row["line"] for row in told]
    assert [row["row"] for row in told] == list(range(1, len(ROWS) + 1))
    assert len({link["id"] for link in told}) == len(ROWS)
    again = importer.send(BODY, Idempotency_Key=key)
    assert (again.status_code, (again.json or {})["id"]) == (200, done["id"])


def test_broken_import_goes_on_where_it_was(importer: Importer) -> None:
    key = secrets.token_hex(8)
    begun = broken(importer, key)
    wrong = importer.send(b"", "from_row=1499", Idempotency_Key=key)
    assert (wrong.status_code, (wrong.json or {})["rows"]) == (409, 1_500)
    done = importer.run(ndjson(ROWS[1_500:]), "from_row=1500", Idempotency_Key=key)
    assert (done["id"], done["created"]) == (begun["id"], len(ROWS))
    assert [row["line"] for row in importer.outcomes(done)] == list(range(1, len(ROWS) + 1))


def test_broken_import_of_csv_goes_on_below_its_names(importer: Importer) -> None:
    key = secrets.token_hex(8)
    head, lines = b"url,title\n", [b"https://example.com/%d,t\n" % n for n in range(1_200)]
    named = {"Idempotency_Key": key, "Content_Type": "text/csv"}
    packed = gzip.compress(head + b"".join(lines[:1_100]))[:-8]
    assert importer.send(packed, Content_Encoding="gzip", **named).status_code == 400
    other = importer.send(b"url,slug\nhttps://example.com/,\n", "from_row=1100", **named)
    assert other.status_code == 422
    done = importer.run(head + b"".join(lines[1_100:]), "from_row=1100", **named)
    assert done["created"] == 1_200
    assert [row["line"] for row in importer.outcomes(done)] == list(range(2, 1_202))


@pytest.mark.parametrize("change", ["another row", "fewer rows", "another conflict", "format"])
def test_other_body_under_the_same_key_is_refused(importer: Importer, change: str) -> None:
    key = secrets.token_hex(8)
    broken(importer, key)
    rows = list(ROWS)
    if change == "another row":
        rows[700] = {"url": "https://example.com/other"}
    if change == "fewer rows":
        rows = rows[:1_499]
    query = "conflict=skip" if change == "another conflict" else ""
    kind = "text/csv" if change == "format" else "application/x-ndjson"
    answer = importer.send(rows, query, Idempotency_Key=key, Content_Type=kind)
    assert answer.status_code == 422
    (found,) = (importer.caller.get(f"/imports?idempotency_key={key}").json or {})["data"]
    assert (found["state"], found["rows"]) == ("receiving", 1_500)


def test_position_in_an_import_that_is_none_is_refused(importer: Importer) -> None:
    answer = importer.send(ROWS[:1], "from_row=5", Idempotency_Key=secrets.token_hex(8))
    assert answer.status_code == 409


def test_connection_that_was_taken_over_keeps_nothing_more(importer: Importer) -> None:
    imports = importer.caller.app.extensions["signpost.services"][ImportService]
    asked = Asked(
        key=secrets.token_hex(8), format="ndjson", conflict="fail", dry_run=False, from_row=None
    )
    row, first = imports.begin(importer.caller.workspace_id, asked)
    again, second = imports.begin(importer.caller.workspace_id, asked)
    assert again.id == row.id
    with pytest.raises(TakenOver):
        imports.receive(row, first, Source(io.BytesIO(BODY).read, "", len(BODY)), from_row=None)
    done = imports.receive(
        again, second, Source(io.BytesIO(BODY).read, "", len(BODY)), from_row=None
    )
    assert (done.state, done.rows) == ("queued", len(ROWS))


@pytest.mark.parametrize("broker", ["", "redis+cluster://127.0.0.1:1,127.0.0.1:2"])
def test_without_a_broker_for_jobs_imports_are_refused(
    importer: Importer, environ: dict[str, str], broker: str
) -> None:
    """Nobody would ever load them."""
    app = create_app(Settings.load(environ | {"REDIS_URL": broker}))
    answer = replace(importer, caller=replace(importer.caller, app=app)).send(ROWS[:1])
    assert answer.status_code == 503
    assert "queue of jobs" in (answer.json or {})["detail"]


def test_imports_at_a_time_are_bounded(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    service = importer.caller.app.extensions["signpost.services"][ImportService]
    monkeypatch.setattr(service, "_most", 2)
    first = importer.send(ROWS[:1])
    broken(importer, secrets.token_hex(8), 1)  # nobody is at work there
    assert importer.send(ROWS[:1]).status_code == 202
    refused = importer.send(ROWS[:1])
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    importer.loader.load(int((first.json or {})["id"]))
    assert importer.send(ROWS[:1]).status_code == 202


def test_cancelled_import_loads_nothing_more_and_can_be_forgotten(importer: Importer) -> None:
    key = secrets.token_hex(8)
    identifier = (importer.send(BODY, Idempotency_Key=key).json or {})["id"]
    assert importer.caller.delete(f"/imports/{identifier}").status_code == 204
    assert importer.get(identifier)["state"] == "cancelled"
    assert importer.loader.load(int(identifier)) == "nothing to do"
    assert importer.links() == []
    assert importer.send(BODY, Idempotency_Key=key).status_code == 200  # as it is
    assert importer.caller.delete(f"/imports/{identifier}").status_code == 204
    assert importer.caller.get(f"/imports/{identifier}").status_code == 404
    assert importer.caller.delete(f"/imports/{identifier}").status_code == 404
    assert importer.send(BODY, Idempotency_Key=key).status_code == 202  # anew


def test_import_that_is_cancelled_in_its_middle_stops(
    importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = (importer.send(BODY).json or {})["id"]
    load = type(importer.loader._links).load

    def cancel(*arguments: Any, **named: Any) -> Any:
        assert importer.caller.delete(f"/imports/{identifier}").status_code == 204
        return load(*arguments, **named)

    monkeypatch.setattr(type(importer.loader._links), "load", cancel)
    assert importer.loader.load(int(identifier)) == "taken over"
    assert importer.get(identifier)["state"] == "cancelled"


def test_what_nobody_sees_any_more_is_deleted(importer: Importer, db: Database) -> None:
    done = importer.run(BODY)
    waiting = (importer.send(BODY).json or {})["id"]
    importer.caller.delete(f"/imports/{done['id']}")
    while purge_imports(db):
        pass
    with db.read_directory() as session:
        rows = session.connection().exec_driver_sql(
            "SELECT import_id FROM import_chunks WHERE import_id IN (%s, %s)"
            " UNION SELECT id FROM imports WHERE id = %s",
            (done["id"], waiting, done["id"]),
        )
        assert [str(row[0]) for row in rows] == [waiting]


def test_other_workspaces_import_answers_404(importer: Importer, other_caller: Caller) -> None:
    done = importer.run(ROWS[:1])
    for path in ("", "/outcomes", "/events"):
        assert other_caller.get(f"/imports/{done['id']}{path}").status_code == 404
    assert other_caller.delete(f"/imports/{done['id']}").status_code == 404
    assert importer.caller.without("transfers").get("/imports").status_code == 403


def test_imports_are_listed_newest_first(importer: Importer) -> None:
    ids = [(importer.send(ROWS[:1]).json or {})["id"] for _ in range(3)]
    page = importer.caller.get("/imports?limit=2").json or {}
    assert [row["id"] for row in page["data"]] == ids[:0:-1]
    rest = importer.caller.get(f"/imports?limit=2&cursor={page['next_cursor']}").json or {}
    assert [row["id"] for row in rest["data"]] == ids[:1]


def test_events_end_with_the_import(importer: Importer) -> None:
    done = importer.run(ROWS[:1])
    answer = importer.caller.get(f"/imports/{done['id']}/events")
    assert answer.mimetype == "text/event-stream"
    assert answer.text.count("event: progress") == answer.text.count("event: finished") == 1


def test_quota_is_counted_and_held_to(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = importer.loader._links._quota
    plan = Plan(name="small", links_per_month=3)
    monkeypatch.setattr(quota._plans, "of", lambda workspace: plan)
    mine = importer.run([{"url": "https://example.com/", "slug": secrets.token_hex(5)}])
    assert counts(mine) == {"created": 1}
    done = importer.run(ROWS[:5])
    assert counts(done) == {"created": 2, "failed": 3}
    (problem, *_) = [row["problem"] for row in importer.outcomes(done, "outcome=failed")]
    assert problem["type"].endswith("quota-exceeded")
    # What is there already needs none.
    slug = importer.outcomes(mine)[0]["slug"]
    again = importer.run([{"url": "https://example.com/", "slug": slug}], "conflict=skip")
    assert counts(again) == {"exists": 1}
