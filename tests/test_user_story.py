"""The product from end to end: create a link, follow it, count it, ask about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from flask import Flask

from tests.caller import Caller

ROOT = Path(__file__).resolve().parents[1]
_FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0"


def test_a_followed_link_shows_up_in_its_statistics(
    app: Flask, caller: Caller, environ: dict[str, str]
) -> None:
    link = caller.create_link("https://example.com/spring", slug="story", tags=["spring"])
    visitor = app.test_client()
    for query in ("", "?utm_source=newsletter"):
        answer = visitor.get(
            f"/story{query}",
            headers={
                "User-Agent": _FIREFOX,
                "Referer": "https://news.example.org/item?id=1",
                "Accept-Language": "de-DE,de;q=0.9",
            },
        )
        assert (answer.status_code, answer.location) == (302, "https://example.com/spring")
    assert visitor.get("/story", headers={"User-Agent": "curl/8.8.0"}).status_code == 302
    assert visitor.head("/story", headers={"User-Agent": _FIREFOX}).status_code == 302

    count_what_waits(environ)

    shown = caller.get(f"/links/{link['id']}").json
    assert shown is not None
    assert shown["clicks"] == 4
    people = caller.get(f"/links/{link['id']}/stats?group_by=browser").json
    assert people is not None
    assert people["total"] == {"clicks": 2, "visitors": 1}
    assert people["groups"] == [{"value": "Firefox", "clicks": 2, "visitors": 1}]
    everybody = caller.get("/stats?group_by=utm_source&bots=include&interval=hour").json
    assert everybody is not None
    assert everybody["total"]["clicks"] == 4
    assert {group["value"]: group["clicks"] for group in everybody["groups"]} == {
        None: 3,
        "newsletter": 1,
    }
    clicks = caller.get(f"/links/{link['id']}/clicks").json
    assert clicks is not None
    assert [click["bot"] for click in clicks["data"]] == [True, True, False, False]
    assert {click["language"] for click in clicks["data"] if not click["bot"]} == {"de"}
    assert {click["referrer"] for click in clicks["data"] if not click["bot"]} == {
        "news.example.org"
    }


def count_what_waits(environ: dict[str, str]) -> None:
    """Wait until the spool is sealed by age, then count it as the clicks process does."""
    spool = Path(environ["SIGNPOST_HOME"]) / "spool"
    deadline = time.monotonic() + 10
    while list(spool.glob("*.open")) and time.monotonic() < deadline:
        time.sleep(0.05)
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "consume-clicks", "--once", "--json"],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rejected"] == []
