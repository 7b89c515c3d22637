"""A running Signpost with a job worker, and scripts/import as its client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.caller import Caller
from tests.live.conftest import Web
from tests.running import ROOT
from tests.scripting import run_script


@dataclass
class Site:
    """A Signpost, and a workspace of its own."""

    port: int
    caller: Caller
    # A domain of it, on which no other test has links.
    host: str
    environ: dict[str, str]

    def links(self) -> dict[str, dict[str, Any]]:
        """All links of the workspace, by slug."""
        found: dict[str, dict[str, Any]] = {}
        cursor = None
        while True:
            query = {"limit": 200} | ({"cursor": cursor} if cursor else {})
            page = self.caller.get("/links", query_string=query).json or {}
            for link in page["data"]:
                assert link["slug"] not in found
                found[link["slug"]] = link
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def run(
        self, *arguments: object, port: int | None = None, given: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run scripts/import against it."""
        url = f"http://127.0.0.1:{port or self.port}"
        env = self.environ | {"SIGNPOST_KEY": self.caller.key} | environ
        return run_script("import", *arguments, "--url", url, env=env, given=given)

    def bring(self, *arguments: object, **options: Any) -> dict[str, Any]:
        """The same, which must go well; its figures."""
        done = self.run(*arguments, "--json", **options)
        assert done.returncode == 0, done.stdout + done.stderr
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures


@contextmanager
def serving(environ: dict[str, str], folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The port of a web server, and the environment of it and of a job worker beside it."""
    settings = environ | {
        "JOBS_QUEUE": f"test.jobs.{uuid.uuid4().hex[:12]}",
        "MULTI_SEGMENT_SLUGS": "true",
    }
    web = Web(settings, folder / "web.out")
    try:
        with (folder / "worker.out").open("w") as stream:
            worker = subprocess.Popen(
                [sys.executable, ROOT / "scripts" / "run-jobs"],
                env=os.environ | settings,
                stdout=stream,
                stderr=stream,
            )
        try:
            yield web.port, settings
        finally:
            worker.terminate()
            worker.wait(40)
    finally:
        web.stop()
