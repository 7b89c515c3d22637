"""`deploy/monitoring/rules/`: Prometheus takes them, and they tell what they should."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.monitoring import sources
from tests.services.prometheus import promtool


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    shutil.copytree(sources.FOLDER / "rules", tmp_path / "rules")
    shutil.copy(sources.FOLDER / "prometheus.yml", tmp_path)
    (tmp_path / "signpost.token").write_text("a token of the tests only")
    said = promtool("check", "config", tmp_path / "prometheus.yml")
    assert f"{len(sources.RULES)} rule files found" in said


@pytest.mark.parametrize("path", sources.UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_must_and_only_then(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


def test_each_alert_is_seen_to_fire_and_to_end() -> None:
    fires: set[str] = set()
    for path in sources.UNIT_TESTS:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for asked in test["promql_expr_test"]:
                samples = str(asked.get("exp_samples", ""))
                fires |= set(re.findall(r'alertname="(\w+)"', samples))
            # What fires nothing at all is the other half of the proof.
            assert any("exp_samples" not in one for one in test["promql_expr_test"]) or (
                test["name"] in _SEEN_ELSEWHERE
            ), test["name"]
    assert fires == set(sources.alerts())


# Their end, or their silence, is another test's.
_SEEN_ELSEWHERE = {
    "five times the budget for a day is a ticket, and wakes nobody",
    "twice the budget for three days is one, too",
    "no web process is known at all",
}


def test_each_alert_says_how_urgent_it_is_and_what_to_do() -> None:
    for name, alert in sources.alerts().items():
        assert name.startswith("Signpost")
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
        assert alert["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    text = sources.RUNBOOKS.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (Signpost\w+)\n(.*?)(?=^#|\Z)", text, re.M | re.S))
    assert set(sections) == set(sources.alerts())
    for name, section in sections.items():
        for part in ("**Users**", "**See**", "**Do**", "**Over**"):
            assert part in section, f"{name} does not say: {part}"


def test_runbooks_that_are_said_to_be_tried_are_tried() -> None:
    text = sources.RUNBOOKS.read_text(encoding="utf-8")
    table = text.partition("| provoked by | alerts |\n")[2].partition("\n\n")[0]
    provoked = set(re.findall(r"`(Signpost\w+)`", table))
    tests = Path(__file__).with_name("test_runbooks.py").read_text(encoding="utf-8")
    fired = " ".join(re.findall(r"\.fire\((.*?)\)", tests, re.DOTALL))
    assert provoked == set(re.findall(r'"(Signpost\w+)"', fired))
    assert set(sources.alerts()) - provoked == {"SignpostMemoryGrowing"}  # as is said below it


def test_each_script_that_a_runbook_names_exists() -> None:
    text = sources.RUNBOOKS.read_text(encoding="utf-8")
    for name in set(re.findall(r"\bscripts/([a-z-]+)", text)):
        assert (sources.ROOT / "scripts" / name).exists(), f"there is no scripts/{name}"
