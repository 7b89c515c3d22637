"""`scripts/bench` on very little: that it runs, and that what it says adds up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from api.core.embedded.errors import EmbeddedError
from bench import needs
from bench.chart import Bar, Panel, draw
from bench.document import replace_figures
from tests.running import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def bench(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bench"), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=170,
        env=os.environ | environ,
    )


def measured(part: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The figures of one part, by title."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    try:
        needs.check()
    except EmbeddedError as error:
        pytest.skip(str(error))
    path = folder / "figures.json"
    done = bench("--quick", "--only", part, "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert "× Express" in done.stdout
    made = json.loads(path.read_text())["comparisons"]
    return {one["title"]: one["figures"] for one in made}


@pytest.mark.slow
def test_redirects_beside_rivals(tmp_path: Path) -> None:
    figures = {one["name"]: one for one in measured("redirects", tmp_path)["Redirects"]}
    assert len(figures) == 6
    for one in figures.values():
        assert 0 < one["p50_ms"] <= one["p99_ms"]
        assert 0 < one["pss_bytes"] <= one["rss_bytes"]
        assert one["errors"] == {}
    for name in ("Express 5", "Signpost", "Signpost, fast path off"):
        one = figures[name]
        assert one["answered"] <= one["counted"] <= one["answered"] + one["in_flight"]


@pytest.mark.slow
def test_links_are_read_listed_and_created(tmp_path: Path) -> None:
    comparisons = measured("api", tmp_path)
    for title in ("Get a link", "List 10 links", "List 50 links", "Create a link"):
        names = [one["name"] for one in comparisons[title]]
        assert names == ["bare Flask API", "Express 5", "Signpost"]
    created = [one for one in comparisons["Create a link"] if one["counted"] is not None]
    assert len(created) == 2
    assert all(one["counted"] >= one["answered"] > 0 for one in created)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    done = bench("--quick", PATH=str(tmp_path), SIGNPOST_HOME=str(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "not installed: wrk" in line and "apt-get install wrk" in line


def test_help_and_wrong_arguments() -> None:
    assert "Usage: scripts/bench" in bench("--help").stdout
    for arguments in (["--only", "everything"], ["--runs", "0"], ["--quick", "--write"]):
        done = bench(*arguments)
        assert done.returncode == 2
        assert arguments[-1].split("=")[0] in done.stderr


def test_figures_replace_only_what_is_between_the_marks(tmp_path: Path) -> None:
    copy = tmp_path / "performance.md"
    text = (ROOT / "docs" / "performance.md").read_text()
    copy.write_text(text)
    replace_figures(copy, "older figures\n")
    replace_figures(copy, "new figures\n")
    before, found, after = copy.read_text().partition("new figures\n")
    assert found and "older figures" not in copy.read_text()
    assert text.startswith(before) and text.endswith(after)
    copy.write_text("no marks")
    with pytest.raises(EmbeddedError, match="no marks"):
        replace_figures(copy, "figures")


def test_picture_is_well_formed_and_to_scale() -> None:
    bars = [Bar(label="<one>", value=50.0), Bar(label="two", value=100.0, note="2 × & more")]
    root = ElementTree.fromstring(draw("Title", "Subtitle", [Panel(title="Panel", bars=bars)]))
    space = "{http://www.w3.org/2000/svg}"
    short, long = [int(one.attrib["width"]) for one in root.iter(f"{space}rect")][1:]
    assert long == 2 * short
    texts = [one.text for one in root.iter(f"{space}text")]
    assert texts == ["Title", "Subtitle", "Panel", "<one>", "50", "two", "100 · 2 × & more"]
