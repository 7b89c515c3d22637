"""`scripts/workspaces` as a process: archives, and erasures that wait until nothing is left."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.caller import Caller
from tests.scripting import run_script


def test_an_archive_is_written_into_a_file(
    caller: Caller, environ: dict[str, str], tmp_path: Path
) -> None:
    link = caller.create_link()
    path = tmp_path / "all.zip"
    done = run_script("workspaces", "archive", caller.workspace_id, path, env=environ)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read("links.ndjson").splitlines()[0])["id"] == link["id"]
    content = path.read_bytes()
    again = run_script("workspaces", "archive", caller.workspace_id, path, env=environ)
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1), again.stderr
    assert "exists" in again.stderr
    assert path.read_bytes() == content
    missing = run_script("workspaces", "archive", 5, tmp_path / "none.zip", env=environ)
    assert missing.returncode == 1
    assert not (tmp_path / "none.zip").exists()


def test_nothing_is_erased_without_the_name(caller: Caller, environ: dict[str, str]) -> None:
    workspace = caller.workspace_id
    caller.patch(f"/workspaces/{workspace}", {"name": "Kept Inc."})
    for arguments, status in (
        (("erase", workspace), 2),
        (("erase", workspace, "--name", "Other"), 1),
        (("erase", 5, "--name", "Other"), 1),
        (("erasure", workspace), 1),
        (("erase", workspace, "--dry-run"), 0),
    ):
        done = run_script("workspaces", *arguments, env=environ)
        assert (done.returncode != 0) == (status != 0), (arguments, done.stderr)
        assert "Traceback" not in done.stderr
    assert "Kept Inc." in done.stdout
    assert caller.get("/links").status_code == 200


@pytest.mark.slow
def test_an_erasure_is_waited_for(caller: Caller, environ: dict[str, str]) -> None:
    caller.create_link()
    workspace = caller.workspace_id
    done = run_script("workspaces", "erase", workspace, "--name", "Test", "--json", env=environ)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["state"] == "erased"
    assert told["erased"]["links"] == 1
    assert told["certificate"].count(".") == 2
    again = run_script("workspaces", "erasure", workspace, "--json", env=environ)
    assert json.loads(again.stdout)["erased"] == told["erased"]
