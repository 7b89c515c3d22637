"""scripts/block-targets, as an operator runs it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.caller import Caller
from tests.redirects.visitor import Visitor
from tests.scripting import run_script


class Operator:
    """Runs the script on the database of these tests."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = {**os.environ, **environ, "LOG_LEVEL": "WARNING"}

    def run(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return run_script("block-targets", *arguments, env=self._environ, given=given)

    def does(self, *arguments: str, given: str = "") -> Any:
        done = self.run(*arguments, "--json", given=given)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def operator(environ: dict[str, str]) -> Operator:
    return Operator(environ)


def test_rule_stops_links_of_all_workspaces_until_it_is_removed(
    app: Flask, caller: Caller, other_caller: Caller, operator: Operator
) -> None:
    links = [each.create_link("https://op-evil.example/") for each in (caller, other_caller)]
    visitor = Visitor(app)
    dry = operator.does("add", "op-evil.example", "--dry-run")
    assert (dry["links_hit"], dry["workspaces_hit"]) == (2, 2)
    assert [visitor.follow(link).status_code for link in links] == [302, 302]
    added = operator.does("add", "op-evil.example", "*//op-evil.example/x*", "--reason", "Malware")
    assert added["added"] == 2
    wait_for(visitor, links[0], 451)
    assert visitor.follow(links[1]).status_code == 451
    there = operator.does("list")["data"]
    assert {"kind": "host", "value": "op-evil.example", "status": 451, "reason": "Malware"} in there
    assert operator.does("remove", "op-evil.example", "--dry-run")["links_hit"] == 2
    removed = operator.does("remove", "op-evil.example", "*//op-evil.example/x*", "not.example")
    assert (removed["removed"], removed["unknown"]) == (2, 1)
    wait_for(visitor, links[0], 302)


def test_rule_of_a_workspace_is_only_its_own(caller: Caller, operator: Operator) -> None:
    own = str(caller.workspace_id)
    operator.does("add", "own-evil.example", "--workspace", own, "--status", "410")
    (rule,) = (caller.get("/blocked-targets").json or {})["data"]
    assert (rule["value"], rule["status"], rule["reason"]) == ("own-evil.example", 410, None)
    assert operator.does("list", "--workspace", own)["data"][0]["value"] == "own-evil.example"
    assert operator.run("add", "x.example", "--workspace", "1").returncode == 1


def test_audit_log_tells_what_an_operator_did(caller: Caller, operator: Operator) -> None:
    own = ("--workspace", str(caller.workspace_id))
    operator.does("add", "told-evil.example", *own, "--dry-run")
    operator.does("add", "told-evil.example", *own)
    operator.does("remove", "told-evil.example", *own)
    deleted, created = (caller.get("/audit-events").json or {})["data"][:2]
    assert (created["action"], deleted["action"]) == (
        "blocked_target.create",
        "blocked_target.delete",
    )
    for event in (created, deleted):
        assert event["actor"]["kind"] == "operator"
        assert event["details"] == {"rules": 1, "values": ["told-evil.example"]}


def test_lists_are_taken_in_and_written_out(
    caller: Caller, operator: Operator, tmp_path: Path
) -> None:
    own = ("--workspace", str(caller.workspace_id))
    listed = "\n".join(
        [
            "\ufeff# a list",
            "one.example  # comment",
            "0.0.0.0 two.example www.two.example",
            "127.0.0.1 localhost",
            "*//three.example/#/bad*",
            '{"kind": "host", "value": "four.example", "status": 410, "reason": "Four"}',
            "not a rule",
            '{"kind": "other", "value": "x"}',
            "",
        ]
    )
    done = operator.run("import", "-", *own, "--json", given=listed)
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "dry_run": False,
        "rules": 5,
        "wrong_lines": 2,
        "added": 5,
    }
    assert "line 7: " in done.stderr
    assert "line 8: " in done.stderr
    assert operator.does("import", "-", *own, given=listed)["added"] == 0

    path = tmp_path / "rules.ndjson"
    assert operator.run("export", str(path), *own).returncode == 0
    written = path.read_text()
    assert [json.loads(line)["value"] for line in written.splitlines()] == [
        "one.example",
        "two.example",
        "www.two.example",
        "*//three.example/#/bad*",
        "four.example",
    ]
    values = [json.loads(line)["value"] for line in written.splitlines()]
    assert operator.does("remove", *values, *own)["removed"] == 5
    assert operator.does("import", str(path), *own)["added"] == 5
    assert operator.run("export", *own).stdout == written


def test_what_is_no_rule_is_one_line(operator: Operator) -> None:
    done = operator.run("add", "not a host")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert operator.run("remove", "nobody-has-this.example").returncode == 1


def wait_for(visitor: Visitor, link: dict[str, Any], status: int) -> None:
    deadline = time.monotonic() + 3
    while visitor.follow(link).status_code != status:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
