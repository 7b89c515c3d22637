"""`deploy/monitoring/`, as tests look at it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.running import ROOT

FOLDER = ROOT / "deploy" / "monitoring"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
UNIT_TESTS = sorted((FOLDER / "tests").glob("*.yml"))
RUNBOOKS = ROOT / "docs" / "operations.md"


def rules() -> list[dict[str, Any]]:
    """Every rule of every file."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in RULES]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts, by name."""
    found = [rule for rule in rules() if "alert" in rule]
    named = {rule["alert"]: rule for rule in found}
    assert len(named) == len(found), "an alert is there twice"
    return named


def boards() -> dict[str, dict[str, Any]]:
    """The dashboards, by the name of their file."""
    paths = sorted((FOLDER / "grafana" / "dashboards").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each panel that asks something, with where it is."""
    for name, board in boards().items():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield f"{name}: {panel['title']}", panel


def questions() -> dict[str, str]:
    """What panels ask of Prometheus, by where; Grafana's own variables have values."""
    values = {"$__rate_interval": "1m", "$__range": "6h", "$instance": ".*"}
    asked = {}
    for place, panel in panels():
        for target in panel["targets"]:
            query = target["expr"]
            for variable, value in values.items():
                query = query.replace(variable, value)
            asked[f"{place}: {target['refId']}"] = query
    return asked


def metrics_of(query: str) -> set[str]:
    """The names in a query: what we tell ourselves, not what rules record of it."""
    return set(re.findall(r"\bsignpost_[a-z0-9_]+", re.sub(r'"[^"]*"', "", query)))
