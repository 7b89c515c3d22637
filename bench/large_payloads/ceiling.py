r"""The ceiling: the same rows through psql's `\copy`, which does nothing but carry them."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from api.core.embedded.errors import EmbeddedError
from api.core.embedded.postgres import find_binaries

_LINKS = (
    "slot, id, workspace_id, domain, slug, url, title, tags, starts_at, expires_at, max_clicks,"
    " redirect_status, forward_query, enabled, metadata, created_at, updated_at"
)
_CLICKS = (
    "link_id, clicked_at, id, visitor, bot, country, referrer, browser, system, device, language,"
    " utm_source, utm_medium, utm_campaign, utm_term, utm_content, address"
)


class Psql:
    """`psql` of the server's own release."""

    def __init__(self, url: str, data: Path) -> None:
        """`data` is where the server keeps its tables: by it its release is known."""
        self._program = find_binaries(data) / "psql"
        self._url = url

    def copy_links_out(self, path: Path) -> float:
        """All links into a file; seconds."""
        return self._run(rf"\copy (SELECT {_LINKS} FROM links ORDER BY id) TO '{path}' CSV")

    def copy_clicks_out(self, path: Path) -> float:
        """All clicks into a file, link by link; seconds."""
        asked = f"SELECT {_CLICKS} FROM clicks ORDER BY slot, link_id, clicked_at, id"
        return self._run(rf"\copy ({asked}) TO '{path}' CSV")

    def copy_links_in(self, path: Path) -> float:
        """What `copy_links_out` wrote into a table with the same indexes; seconds."""
        self._run("CREATE TABLE copied (LIKE links INCLUDING ALL)")
        try:
            return self._run(rf"\copy copied ({_LINKS}) FROM '{path}' CSV")
        finally:
            self._run("DROP TABLE copied")

    def _run(self, command: str) -> float:
        started = time.perf_counter()
        done = subprocess.run(
            [str(self._program), self._url, "--no-psqlrc", "--quiet", "-c", command],
            check=False,
            capture_output=True,
            text=True,
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
        if done.returncode != 0:
            raise EmbeddedError(f"psql failed: {done.stderr.strip().splitlines()[0]}")
        return time.perf_counter() - started
