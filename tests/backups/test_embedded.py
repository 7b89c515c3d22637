"""Backups where no URL is set: of the embedded PostgreSQL, whether Signpost runs or not."""

from __future__ import annotations

import json
import shutil
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningSignpost, clean_environ, running, wait_until
from tests.scripting import run_script

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def run(home: Path, script: str, *arguments: object) -> dict[str, Any]:
    done = run_script(script, *arguments, "--json", env=clean_environ(home))
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def visit(signpost: RunningSignpost, slug: str) -> tuple[int, str | None]:
    """The answer to a visitor, and where it leads."""
    connection = HTTPConnection("127.0.0.1", signpost.port, timeout=30)
    try:
        connection.request("GET", f"/{slug}")
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location")
    finally:
        connection.close()


def test_an_embedded_installation_is_restored_running_stopped_and_elsewhere(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    home, place = tmp_path / "home", tmp_path / "backups"
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("five words that nobody guesses\n")
    with running(home) as signpost:
        link = signpost.call(
            "POST", "/api/v1/links", {"url": "https://example.com/", "slug": "one"}
        )
        for _ in range(3):
            assert visit(signpost, "one") == (302, "https://example.com/")
        wait_until(lambda: signpost.call("GET", f"/api/v1/links/{link['id']}")["clicks"] == 3)
        sealed = ("--with-keys", "--passphrase-file", passphrase)
        said = run(home, "backup", "--to", place, "--verify", *sealed)
        assert said["verified_at"] is not None
        signpost.call("PATCH", f"/api/v1/links/{link['id']}", {"url": "https://example.com/other"})
        signpost.call("POST", "/api/v1/links", {"url": "https://example.com/", "slug": "two"})
        wait_until(lambda: visit(signpost, "one") == (302, "https://example.com/other"))
        # Beside what runs, which then finds the other database.
        run(home, "restore", said["path"], "--replace", "--yes", "--drop-replaced")
        found = signpost.call("GET", f"/api/v1/links/{link['id']}")
        assert (found["url"], found["clicks"]) == ("https://example.com/", 3)
    # Stopped, and on a home that was never started.
    run(home, "restore", said["path"], "--replace", "--yes", "--drop-replaced")
    other = tmp_path / "other"
    run(other, "restore", said["path"], *sealed)
    assert (other / "secret.key").read_text() == (home / "secret.key").read_text()
    shutil.copy(home / "admin.key", other)
    for each in (home, other):
        with running(each) as signpost:
            assert visit(signpost, "one") == (302, "https://example.com/")
            assert visit(signpost, "two")[0] == 404
            wait_until(
                lambda s=signpost: s.call("GET", f"/api/v1/links/{link['id']}")["clicks"] == 4
            )
            assert run(each, "backup", "--to", place, "--dry-run")["dry_run"]
