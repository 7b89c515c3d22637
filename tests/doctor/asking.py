"""scripts/doctor as a process, and what its answers are looked at with."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg2

from api.clicks.months import month_of, next_month, partition_name
from tests.scripting import run_script

Findings = dict[str, dict[str, str]]
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def examine(environ: dict[str, str], *options: str) -> tuple[int, Findings]:
    """The exit status, and the findings by the names of the checks."""
    done = run_script("doctor", "--json", *options, env=environ, timeout=40)
    assert not done.stderr, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert sum(told["counts"].values()) == len(told["findings"])
    return done.returncode, {finding["check"]: finding for finding in told["findings"]}


def execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def bad(findings: Findings) -> dict[str, str]:
    return {name: it["status"] for name, it in findings.items() if it["status"] != "ok"}


def make_months(url: str) -> None:
    """Those that the consumer makes ahead."""
    month = month_of(datetime.now(UTC))
    for _ in range(3):
        execute(
            url,
            f"CREATE TABLE IF NOT EXISTS {partition_name(month)} PARTITION OF clicks"
            f" FOR VALUES FROM ('{month}') TO ('{next_month(month)}')",
        )
        month = next_month(month)
