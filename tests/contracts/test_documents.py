"""Documents that are made from the code say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("script", ["settings", "openapi"])
def test_document_is_what_the_code_says(script: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_each_dependency_has_its_reason() -> None:
    listed = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    section = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    wanted = section.partition("install_requires =")[2].partition("[options.packages")[0]
    for name in re.findall(r"^\s*([A-Za-z0-9_-]+)", wanted, re.MULTILINE):
        assert name.lower() in listed, f"{name} is missing in docs/dependencies.md"
