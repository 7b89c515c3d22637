"""`scripts/export`: whole files, however often the connection breaks."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from api.core.database.routing import Database
from tests.caller import Caller
from tests.live.conftest import Web, webs
from tests.scripting import run_script
from tests.transfers.conftest import Count
from tests.transfers.exported import exported
from tests.transfers.test_streams import MANY, fill


class Cutting:
    """A proxy that breaks each of the first connections off after so many bytes of the answer."""

    def __init__(self, port: int, after: list[int]) -> None:
        self.connections = 0
        self._target = port
        self._after = after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                limit = self._after.pop(0) if self._after else None
                self.connections += 1
                self._pass_on(client, limit)

    def _pass_on(self, client: socket.socket, limit: int | None) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            server.sendall(client.recv(65536))
            passed = 0
            while data := server.recv(65536):
                if limit is not None and passed + len(data) > limit:
                    client.sendall(data[: limit - passed])
                    return
                client.sendall(data)
                passed += len(data)
                if data.endswith(b"\r\n0\r\n\r\n"):
                    return


@pytest.fixture(scope="module")
def web(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    home = tmp_path_factory.mktemp("exports")
    with webs(environ, home) as make:
        yield make(SIGNPOST_HOME=str(home))


@pytest.fixture
def proxied(web: Web) -> Iterator[Any]:
    with ExitStack() as stack:

        def make(*after: int) -> Cutting:
            proxy = Cutting(web.port, list(after))
            stack.callback(proxy.close)
            return proxy

        yield make


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def export(
    caller: Caller, port: int, *arguments: object, home: Path
) -> subprocess.CompletedProcess[str]:
    environ = {"SIGNPOST_KEY": caller.key, "SIGNPOST_HOME": str(home), "PATH": "/usr/bin:/bin"}
    return run_script("export", *arguments, "--url", f"http://127.0.0.1:{port}", env=environ)


@pytest.mark.parametrize("kind_of_file", ["ndjson", "csv"])
def test_file_is_whole_however_often_the_connection_breaks(
    proxied: Any, caller: Caller, db: Database, home: Path, kind_of_file: str
) -> None:
    many = MANY // 2
    fill(db, caller, many)
    path = home / "clicks"
    proxy = proxied(5_000, 20_000, 0)
    done = export(
        caller, proxy.port, "clicks", "-o", path, "--format", kind_of_file, "--json", home=home
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["rows"], figures["connections"], proxy.connections) == (many, 4, 4)
    assert read(path, kind_of_file) == exported(caller, "clicks", fields="link_id,clicked_at,id")
    assert [it.name for it in home.iterdir()] == ["clicks"]


def read(path: Path, kind_of_file: str) -> list[dict[str, Any]]:
    if kind_of_file == "csv":
        with path.open(newline="") as file:
            rows: list[Any] = list(csv.DictReader(file))
    else:
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [{name: row[name] for name in ("id", "link_id", "clicked_at")} for row in rows]


@pytest.mark.parametrize("kind_of_file", ["ndjson", "csv"])
def test_a_later_run_goes_on_where_one_ended(
    web: Web, caller: Caller, home: Path, kind_of_file: str
) -> None:
    for number in range(6):
        caller.create_link(title=f'line\r\n"break" {number}, and more')
    path = home / "links"
    query = {"format": kind_of_file}
    whole = caller.get("/exports/links", query_string=query).data
    if kind_of_file == "ndjson":
        whole = whole[: whole.index(b'{"end"')]
    arguments = ("links", "-o", path, "--format", kind_of_file)
    # As a run leaves it that was killed in the middle of a row, and of a quoted cell.
    for size in (40, len(whole) // 2, len(whole)):
        leave_part(web.port, path, whole[:size], **{"--format": kind_of_file})
        done = export(caller, web.port, *arguments, "--resume", home=home)
        assert done.returncode == 0, done.stderr
        assert path.read_bytes() == whole
        assert [it.name for it in home.iterdir()] == ["links"]
        path.unlink()
    leave_part(web.port, path, whole, **{"--format": kind_of_file})
    refused = export(caller, web.port, *arguments, home=home)
    assert (refused.returncode, "--resume" in refused.stderr) == (1, True)


def leave_part(port: int, path: Path, content: bytes, **options: Any) -> None:
    """What a run leaves that was killed."""
    asked = {"KIND": "links", "--url": f"http://127.0.0.1:{port}", "--format": "ndjson"}
    asked |= {"--fields": [], "--where": [], "--escape-formulas": ""} | options
    path.with_name(f"{path.name}.part").write_bytes(content)
    path.with_name(f"{path.name}.part.asked").write_text(json.dumps(asked))


def test_a_later_run_goes_on_only_with_what_was_asked(
    proxied: Any, web: Web, caller: Caller, db: Database, home: Path
) -> None:
    fill(db, caller, MANY // 2)
    path, part, note = home / "r", home / "r.part", home / "r.part.asked"
    # Breaks once some rows are there, and then for good.
    broken = proxied(5_000, *[0] * 20)
    asked = ("clicks", "-o", path, "--where", "bots=exclude", "--fields", "clicked_at,link_id,id")
    done = export(caller, broken.port, *asked, "--patience", "0.1", home=home)
    assert (done.returncode, "go on with --resume" in done.stderr) == (1, True), done.stderr
    rows = part.read_bytes()
    assert 0 < rows.count(b"\n") < MANY // 2
    refused = export(caller, web.port, *asked, "--resume", home=home)
    assert (refused.returncode, "--url was" in refused.stderr) == (1, True)
    # The same server, by the address that goes well.
    note.write_text(note.read_text().replace(str(broken.port), str(web.port)))
    for arguments, option in (
        (asked[:3], "--where"),
        ((*asked, "--where", "bots=only"), "--where"),
        ((*asked, "--where", "from=2026-03-01T00:00:00Z"), "--where"),
        (asked[:5], "--fields"),
        ((*asked, "--format", "csv"), "--format"),
        ((*asked, "--escape-formulas"), "--escape-formulas"),
        (("links", "-o", path), "KIND"),
    ):
        refused = export(caller, web.port, *arguments, "--resume", home=home)
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert f"{option} was" in line
        assert "begin --anew" in line
    assert part.read_bytes() == rows
    # Fields in another order are the same.
    again = (*asked[:-1], "id,link_id,clicked_at", "--resume")
    done = export(caller, web.port, *again, home=home)
    assert done.returncode == 0, done.stderr
    query = {"bots": "exclude", "fields": "link_id,clicked_at,id"}
    assert read(path, "ndjson") == exported(caller, "clicks", **query)
    assert [it.name for it in home.iterdir()] == ["r"]


def test_part_that_nothing_tells_of_must_begin_anew(web: Web, caller: Caller, home: Path) -> None:
    caller.create_link()
    path, part, note = home / "r", home / "r.part", home / "r.part.asked"
    for told in (None, "", "[]"):
        part.write_text('{"id":"1"}\n')
        if told is not None:
            note.write_text(told)
        refused = export(caller, web.port, "links", "-o", path, "--resume", home=home)
        (line,) = refused.stderr.splitlines()
        assert (refused.returncode, "begin --anew" in line) == (1, True)
    done = export(caller, web.port, "links", "-o", path, "--anew", home=home)
    assert done.returncode == 0, done.stderr
    assert len(path.read_bytes().splitlines()) == 1
    assert [it.name for it in home.iterdir()] == ["r"]


def test_export_of_which_nothing_came_is_not_in_the_way(
    web: Web, caller: Caller, home: Path
) -> None:
    link = caller.create_link()
    path, part = home / "r", home / "r.part"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = listener.getsockname()[1]
    for port, more in (
        (web.port, ("--where", "bots=foo")),
        (nobody, ("--patience", "0")),
        (web.port, ("--key-file", home)),
    ):
        done = export(caller, port, "links", "-o", path, *more, home=home)
        assert done.returncode != 0
        assert "--resume" not in done.stderr
        assert list(home.iterdir()) == []
    # As a run leaves it that was killed at once.
    for more in ((), ("--resume",)):
        part.touch()
        done = export(caller, web.port, "links", "-o", path, *more, home=home)
        assert done.returncode == 0, done.stderr
        assert json.loads(path.read_bytes())["id"] == link["id"]
        assert [it.name for it in home.iterdir()] == ["r"]
        path.unlink()


@pytest.mark.parametrize("kind_of_file", ["ndjson", "csv"])
def test_standard_output_has_the_rows_alone(
    proxied: Any, caller: Caller, home: Path, kind_of_file: str
) -> None:
    for _ in range(40):
        caller.create_link(title=os.urandom(60).hex())
    whole = caller.get("/exports/links", query_string={"format": kind_of_file}).text
    if kind_of_file == "ndjson":
        whole = whole[: whole.index('{"end"')]
    environ = {"SIGNPOST_KEY": caller.key, "SIGNPOST_HOME": str(home), "PATH": "/usr/bin:/bin"}
    for more in ((), ("--json",)):
        proxy = proxied(2_000)
        arguments = ("links", "-o", "-", "--format", kind_of_file, *more)
        url = f"http://127.0.0.1:{proxy.port}"
        done = run_script("export", *arguments, "--url", url, env=environ, cwd=home)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == whole.splitlines()
        assert "Warning" not in done.stderr
        assert proxy.connections == 2
        assert ('"rows": 40' if more else "40 rows") in done.stderr
        assert list(home.iterdir()) == []


def test_help_says_which_fields_it_takes_to_go_on(caller: Caller, home: Path) -> None:
    said = " ".join(export(caller, 1, "--help", home=home).stdout.split())
    assert "of links id; of clicks link_id, clicked_at, id." in said


def test_parquet_comes_whole(proxied: Any, caller: Caller, home: Path, count: Count) -> None:
    for _ in range(3):
        caller.create_link()
    path = home / "links.parquet"
    done = export(caller, proxied(300).port, "links", "-o", path, "--format", "parquet", home=home)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(io.BytesIO(path.read_bytes())).num_rows == 3


def test_bad_input_is_one_line(web: Web, caller: Caller, home: Path) -> None:
    there = home / "there"
    there.write_text("something")
    for arguments, said in (
        (("links", "-o", there), "is there already"),
        (("links", "-o", home / "new", "--resume"), "leave --resume out"),
        (("links", "-o", home / "new", "--fields", "url"), "--fields needs id"),
        (("links", "-o", home / "new", "--where", "nonsense"), "is no filter"),
        (("links", "-o", "-", "--resume"), "is standard output"),
        (("links", "-o", "-", "--anew"), "is standard output"),
        (("links", "-o", "-", "--format", "parquet"), "takes ndjson or csv"),
        (("links", "-o", home / "new", "--where", "state=odd"), "Must be one of"),
        (("links", "-o", home / "new", "--where", "colour=red"), "Unknown field"),
    ):
        done = export(caller, web.port, *arguments, home=home)
        assert done.returncode != 0
        assert said in done.stderr.splitlines()[-1], done.stderr
    assert there.read_text() == "something"
    poor = caller.without("transfers")
    done = export(poor, web.port, "links", "-o", home / "new", "--patience", "0", home=home)
    assert (done.returncode, "scope transfers" in done.stderr) == (1, True)
