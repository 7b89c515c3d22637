"""Draws docs/status.png: the page, with an hour that never was, as a browser shows it.

.venv/bin/python -m tests.services exec -- .venv/bin/python -m tests.status.picture
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from api.core.database.migrate import migrate
from config.settings import Settings
from tests.conftest import METRICS_TOKEN
from tests.services import chromium
from tests.services.chromium import Page
from tests.status.hours import busy_hour, fill, serving

_PATH = Path(__file__).resolve().parents[2] / "docs" / "status.png"


def main() -> None:
    if not chromium.available():
        sys.exit(f"{chromium.ABSENT}: {chromium.INSTALL}")
    servers = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    migrate(Settings.load(servers), report=lambda line: None)
    with tempfile.TemporaryDirectory() as folder, chromium.running(Path(folder)) as browser:
        home = Path(folder) / "home"
        fill(home, busy_hour)
        with serving(home, **servers) as address:
            page = Page(browser, width=1120, height=800, password=METRICS_TOKEN)
            page.open(address)
            _PATH.write_bytes(page.picture())
            page.close()
    print(f"wrote {_PATH}")  # noqa: T201


if __name__ == "__main__":
    main()
