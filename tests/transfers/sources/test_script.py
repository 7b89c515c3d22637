"""scripts/import: from files and services into a running Signpost."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from api.identity.service import IdentityService
from tests.caller import Caller
from tests.running import ROOT, wait_until
from tests.scripting import run_script
from tests.transfers.sources.cutting import cutting
from tests.transfers.sources.services import KEY, Kutt, Service, Shlink, Yourls, running
from tests.transfers.sources.site import Site, serving
from tests.transfers.sources.test_mappings import EXPORTS, rows_of

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def servers(
    environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, dict[str, str]]]:
    """A Signpost with a job worker."""
    with serving(environ, tmp_path_factory.mktemp("site")) as started:
        yield started


@pytest.fixture
def site(
    servers: tuple[int, dict[str, str]], app: Flask, identity: IdentityService, tmp_path: Path
) -> Site:
    """A workspace that is new for this test."""
    port, settings = servers
    caller = Caller.of_new_workspace(app, identity)
    host = f"{uuid.uuid4().hex[:12]}.example"
    assert caller.post("/domains", {"host": host}).status_code == 201
    return Site(port, caller, host, os.environ | settings | {"SIGNPOST_HOME": str(tmp_path)})


def own_rows(site: Site, count: int) -> Rows:
    return [
        {
            "url": f"https://example.com/{number}",
            "slug": f"n{number}",
            "domain": site.host,
            "created_at": "2026-02-03T04:05:06Z",
            "clicks": number,
            "tags": ["brought", "here"],
        }
        for number in range(count)
    ]


def one_of_each(exports: list[Path]) -> list[Any]:
    """The exports; of each service only one in the default run."""
    short = {path.stem: path for path in exports}.values()
    return [
        pytest.param(path, id=path.name, marks=() if path in short else pytest.mark.slow)
        for path in exports
    ]


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("path", one_of_each(EXPORTS))
def test_export_of_each_service_arrives(site: Site, path: Path) -> None:
    wanted = rows_of(path)
    figures = site.bring("--from", path.stem, path, "--domain", f"*={site.host}")
    assert figures["created"] == figures["rows"] == len(wanted), figures
    links = site.links()
    assert set(links) == {row["slug"] for row in wanted}
    for row in wanted:
        link = links[row["slug"]]
        assert link["domain"] == site.host
        assert link["clicks"] == row.get("clicks", 0)
        assert link["tags"] == row.get("tags", [])
        assert link["title"] == row.get("title")
        assert link["has_password"] == ("password" in row)
        assert link["max_clicks"] == row.get("max_clicks")
        if "created_at" in row:
            assert moment(link["created_at"]) == moment(row["created_at"])


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_export_of_a_signpost_arrives_in_another(site: Site, tmp_path: Path, form: str) -> None:
    other = Caller.of_new_workspace(site.caller.app, site.caller.identity)
    old = f"{uuid.uuid4().hex[:12]}.example"
    assert other.post("/domains", {"host": old}).status_code == 201
    for slug in ("one", "two"):
        other.create_link(
            "https://example.com/?a=1,2",
            slug=slug,
            domain=old,
            title='A "title", of\\two lines\n',
            tags=["x", "y, z"],
            expires_at="2031-01-01T00:00:00Z",
            max_clicks=7,
            redirect_status=308,
            forward_query=True,
            state="disabled",
            metadata={"n": [1, {"m": None}]},
        )
    path = tmp_path / "export"
    path.write_bytes(other.get("/exports/links", query_string={"format": form}).data)
    figures = site.bring(path, "--domain", f"{old}={site.host}")
    assert figures["created"] == figures["rows"] == 2

    def kept(links: Iterable[dict[str, Any]]) -> dict[str, Any]:
        here = ("id", "domain", "short_url", "updated_at")
        return {it["slug"]: {n: it[n] for n in it if n not in here} for it in links}

    assert kept(site.links().values()) == kept((other.get("/links").json or {})["data"])


@pytest.mark.parametrize(
    "kind", [Kutt, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (Shlink, Yourls))]
)
def test_links_of_a_running_service_arrive_through_broken_connections(
    site: Site, kind: type[Service]
) -> None:
    service = kind(1_500)
    service.troubles = [(0, {}), (429, {"Retry-After": "0"})]
    with running(service) as url, cutting(site.port, 50_000, 60_000) as relay:
        figures = site.bring(
            *("--from", kind.__name__.lower(), url, "--domain", f"*={site.host}"),
            *("--per-second", "100"),
            port=relay.port,
            SOURCE_KEY=KEY,
        )
    assert relay.cuts == 2
    assert (figures["created"], figures["missed"]) == (1_500, 0)
    found = {link["url"]: link["clicks"] for link in site.links().values()}
    assert found == {f"https://example.com/{number}": number for number in range(1_500)}
    if kind is not Yourls:
        assert [loss["count"] for loss in figures["not_kept"]] == [150]


def test_own_rows_arrive_once_through_broken_connections(site: Site, tmp_path: Path) -> None:
    rows = own_rows(site, 2_000)
    packed = tmp_path / "links.ndjson.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "plain", rows).read_bytes()))
    with cutting(site.port, 150_000, 1, 80_000) as relay:
        figures = site.bring(packed, port=relay.port)
        assert relay.cuts == 3
    assert (figures["created"], figures["rows"]) == (2_000, 2_000)
    links = site.links()
    assert {slug: link["clicks"] for slug, link in links.items()} == {
        row["slug"]: row["clicks"] for row in rows
    }
    assert not (tmp_path / "imports").exists() or not list((tmp_path / "imports").iterdir())


def test_csv_arrives_through_a_broken_connection(site: Site, tmp_path: Path) -> None:
    lines = [f'https://example.com/{n},n{n},{site.host},"a, b","two\nlines"' for n in range(1_500)]
    path = tmp_path / "links.csv"
    path.write_text("url,slug,domain,tags,title\n" + "\n".join(lines))
    with cutting(site.port, 66_000) as relay:
        assert site.bring(path, port=relay.port)["created"] == 1_500
        assert relay.cuts == 1
    links = site.links()
    assert len(links) == 1_500
    assert links["n1499"]["tags"] == ["a", "b"]
    assert links["n1499"]["title"] == "two\nlines"


def is_kept(site: Site, home: Path) -> bool:
    """Whether there is something to go on with, on both sides."""
    states = [json.loads(path.read_text()) for path in (home / "imports").glob("*.json")]
    found = (site.caller.get("/imports").json or {})["data"]
    return bool(states and states[0]["marks"] and found and found[0]["rows"])


def test_killed_import_is_resumed(site: Site, tmp_path: Path) -> None:
    service = Kutt(2_600)
    environ = site.environ | {"SIGNPOST_KEY": site.caller.key, "SOURCE_KEY": KEY}
    with running(service) as url:
        command = ["--from", "kutt", url, "--domain", f"*={site.host}"]
        where = ["--url", f"http://127.0.0.1:{site.port}"]
        process = subprocess.Popen(
            [sys.executable, ROOT / "scripts/import", *command, "--per-second", "20", *where],
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: is_kept(site, tmp_path))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        refused = site.run(*command)
        assert refused.returncode == 1
        assert "--resume" in refused.stderr
        service.asked.clear()
        figures = site.bring(*command, "--per-second", "100", "--resume", SOURCE_KEY=KEY)
    assert figures["created"] == 2_600
    assert [loss["count"] for loss in figures["not_kept"]] == [260]
    # Not from the beginning: what was read before is not read again.
    assert int(service.asked[1]["skip"]) < 2_600 - 500
    assert len(site.links()) == 2_600


def test_file_that_is_another_by_now_is_not_gone_on_with(site: Site, tmp_path: Path) -> None:
    rows = own_rows(site, 3_000)
    path = write(tmp_path / "own.ndjson", rows)
    # The first connection breaks in the middle, and those after it at once, until the kill.
    with cutting(site.port, 400_000, *[1] * 100) as relay:
        process = subprocess.Popen(
            [
                sys.executable,
                ROOT / "scripts/import",
                path,
                "--url",
                f"http://127.0.0.1:{relay.port}",
            ],
            env=site.environ | {"SIGNPOST_KEY": site.caller.key},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: relay.cuts > 1)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        relay.spend()
        (begun,) = (site.caller.get("/imports").json or {})["data"]
        assert 0 < begun["rows"] < 2_900
        write(path, [rows[0] | {"slug": "new"}, *rows])
        refused = site.run(path, "--resume", port=relay.port)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert re.search(r"own.ndjson: .* its first [\d,]+ rows? .*--anew", refused.stderr)
        assert (site.caller.get("/imports").json or {})["data"][0]["rows"] == begun["rows"]
        # Behind what has arrived it may be another.
        rows[2_950]["slug"] = "repaired"
        write(path, rows)
        assert site.bring(path, "--resume", port=relay.port)["created"] == 3_000
    assert set(site.links()) == {row["slug"] for row in rows}


def test_dry_run_tells_what_would_be_and_loads_nothing(site: Site, tmp_path: Path) -> None:
    rows = own_rows(site, 5)
    rows[3]["slug"] = "login"
    failures = tmp_path / "failures.ndjson"
    path = write(tmp_path / "links.ndjson", rows)
    done = site.run(path, "--dry-run", "--failures", failures)
    assert done.returncode == 1
    assert "Would import 5 rows: 4 created, 1 failed" in done.stdout
    assert re.search(r"row 4 login: .*reserved", done.stderr), done.stderr
    (failure,) = map(json.loads, failures.read_text().splitlines())
    assert failure["row"] == 4
    assert site.links() == {}


def test_conflicts_are_skipped_or_overwritten(site: Site, tmp_path: Path) -> None:
    rows = own_rows(site, 3)
    assert site.bring(write(tmp_path / "first", rows))["created"] == 3
    rows = [row | {"title": "new"} for row in own_rows(site, 4)]
    again = write(tmp_path / "second", rows)
    failed = site.run(again, "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["failed"] == 3
    assert site.bring(again, "--conflict", "skip")["exists"] == 4
    figures = site.bring(again, "--conflict", "overwrite")
    assert figures["overwritten"] == 4
    assert {link["title"] for link in site.links().values()} == {"new"}


def test_standard_input_is_read(site: Site, tmp_path: Path) -> None:
    text = write(tmp_path / "links", own_rows(site, 2)).read_text()
    assert site.bring("-", given=text)["created"] == 2


def test_redirect_status_is_of_rows_that_name_none(site: Site, tmp_path: Path) -> None:
    rows = own_rows(site, 2)
    rows[1]["redirect_status"] = 307
    site.bring(write(tmp_path / "links", rows), "--redirect-status", "301")
    assert [link["redirect_status"] for _, link in sorted(site.links().items())] == [301, 307]


def test_wrong_key_is_one_line_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    path = write(tmp_path / "links", own_rows(site, 2))
    done = site.run(path, SIGNPOST_KEY="sp_live_nobody")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "401" in done.stderr
    assert site.bring(path)["created"] == 2


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["/nowhere/links.csv"], 1, "No such file"),
        (["/tmp"], 1, "Is a directory"),
        (["-"], 1, "standard input: it is empty"),
        (["https://s.example.com"], 2, "needs --from"),
        (["https://b.example.com", "--from", "bitly"], 2, "needs --from"),
        (["https://s.example.com", "--from", "shlink"], 2, "--source-key-file"),
        (["https://[", "--from", "shlink"], 2, "no http address"),
        (["x", "--url", "ftp://x"], 2, "--url"),
        (["x", "--domain", "old"], 2, "OLD=NEW"),
        (["x", "--timezone", "Mars/Olympus"], 2, "Mars/Olympus"),
        (["x", "--resume"], 1, "leave --resume out"),
        (["x", "--key-file", "/dev/null"], 2, "/dev/null is empty"),
        ([__file__], 1, "given up: .*refused"),
    ],
)
def test_bad_input_is_told_shortly(
    tmp_path: Path, arguments: list[str], status: int, reason: str
) -> None:
    environ = os.environ | {"SIGNPOST_HOME": str(tmp_path), "SIGNPOST_KEY": "sp_live_x"}
    url = [] if "--url" in arguments else ["--url", "http://127.0.0.1:1"]
    done = run_script("import", *arguments, *url, "--patience", "1", env=environ)
    assert done.returncode == status, done.stderr
    assert re.search(reason, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_no_key_is_told(tmp_path: Path) -> None:
    done = run_script("import", "x", env=os.environ | {"SIGNPOST_HOME": str(tmp_path)})
    assert done.returncode == 2
    assert "SIGNPOST_KEY" in done.stderr
