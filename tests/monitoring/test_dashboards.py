"""`deploy/monitoring/grafana/`: as the code describes them, and as Grafana can show them."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import yaml

from tests.monitoring import sources
from tests.services.prometheus import promtool

COLUMNS = 24


def test_files_are_what_the_code_says() -> None:
    script = sources.FOLDER / "make-dashboards"
    done = subprocess.run(
        [sys.executable, script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_panels_have_their_places() -> None:
    boards = sources.boards()
    assert set(boards) == {"overview", "redirects", "clicks", "data", "workers"}
    assert len({board["uid"] for board in boards.values()}) == len(boards)
    for name, board in boards.items():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids)), name
        places = [panel["gridPos"] for panel in board["panels"]]
        for place in places:
            assert place["x"] >= 0 and place["x"] + place["w"] <= COLUMNS, (name, place)
        for one, other in itertools.combinations(places, 2):
            apart = (
                one["x"] + one["w"] <= other["x"]
                or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"]
                or other["y"] + other["h"] <= one["y"]
            )
            assert apart, (name, one, other)


def test_panels_explain_themselves() -> None:
    for place, panel in sources.panels():
        assert len(panel["description"]) > 10, place
        assert panel["fieldConfig"]["defaults"]["unit"], place
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, place
        assert panel["targets"], place
        for target in panel["targets"]:
            assert target["legendFormat"], place


def test_variables_that_panels_use_are_there() -> None:
    for name, board in sources.boards().items():
        variables = {one["name"]: one for one in board["templating"]["list"]}
        assert variables["datasource"]["type"] == "datasource", name
        assert variables["instance"]["datasource"]["uid"] == "${datasource}", name


def test_prometheus_can_answer_each_panel(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query}
        for number, query in enumerate(sources.questions().values())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", path)


def test_grafana_finds_data_source_and_dashboards() -> None:
    folder = sources.FOLDER / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "signpost.yml").read_text())
    boards = yaml.safe_load((folder / "dashboards" / "signpost.yml").read_text())
    assert source["apiVersion"] == boards["apiVersion"] == 1
    assert [one["type"] for one in source["datasources"]] == ["prometheus"]
    assert [one["type"] for one in boards["providers"]] == ["file"]


def test_what_rules_record_for_panels_is_recorded() -> None:
    recorded = {rule["record"] for rule in sources.rules() if "record" in rule}
    used = {
        word.strip("()")
        for query in sources.questions().values()
        for word in query.split()
        if word.startswith("signpost:")
    }
    assert used
    assert used <= recorded
