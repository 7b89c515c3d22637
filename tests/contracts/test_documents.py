"""Documents that are made from the code say what the code says."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from config.providers import PROVIDERS
from config.reference import reference
from tests.scripting import run_script

ROOT = Path(__file__).resolve().parents[2]
# OpenTelemetry's own, that of the dashboards, and those of scripts.
READ_BY_OTHERS = {
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_RESOURCE_ATTRIBUTES",
    "PROMETHEUS_URL",
    "SIGNPOST_KEY",
    "SOURCE_KEY",
}


@pytest.mark.parametrize("script", ["settings", "openapi"])
def test_document_is_what_the_code_says(script: str) -> None:
    done = run_script(script, "--check", env=os.environ)
    assert done.returncode == 0, done.stderr


def test_each_setting_that_documents_name_exists() -> None:
    known = {name for name, _, _ in reference()} | READ_BY_OTHERS
    patterns = [variable for it in PROVIDERS for variable in it.variables]
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"`([A-Z0-9]+(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", text):
            assert name in known or any(fnmatch(name, it) for it in patterns), (
                f"{path.name}: {name}"
            )


def test_each_dependency_has_its_reason() -> None:
    listed = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").lower()
    section = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    wanted = section.partition("install_requires =")[2].partition("[options.packages")[0]
    for name in re.findall(r"^\s*([A-Za-z0-9_-]+)", wanted, re.MULTILINE):
        assert name.lower() in listed, f"{name} is missing in docs/dependencies.md"


def test_each_proof_that_the_threat_model_names_exists() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert set(re.findall(r"`(test_\w+)`", text)) - there == set()
    rows = re.findall(r"^\| (?!threat|risk|asset|entry|---)(.*) \|$", text, re.MULTILINE)
    proved = text[text.index("## Threats") : text.index("## Supply chain")]
    for row in rows:
        assert row not in proved or "`test_" in row.rpartition(" | ")[2], row
    for number in range(1, 11):
        assert f"| API{number} " in proved
