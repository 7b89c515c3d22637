"""Counts of all processes of a host, read from the files of prometheus_client."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from api.operations.status.counters import CALL_TIME, CounterFiles, growth
from api.operations.status.hour import Hour

# What a process does, with the names of the real metrics.
_PROCESS = """
from prometheus_client import Counter, Gauge, Histogram
redirects = Counter("signpost_redirects_total", "x", ["level", "status"])
redirects.labels("process", "302").inc(7)
redirects.labels("database", "302").inc(2)
redirects.labels("missing", "404").inc(3)
redirects.labels("other", "503").inc()
calls = Counter("signpost_requests_total", "x", ["method", "route", "status"])
calls.labels("GET", "/api/v1/links", "200").inc(5)
calls.labels("POST", "/api/v1/links", "422").inc(1)
calls.labels("GET", "/api/v1/stats", "503").inc(4)
took = Histogram("signpost_request_duration_seconds", "x", ["method", "route"],
                 buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10))
for _ in range(99):
    took.labels("GET", "/api/v1/links").observe(0.004)
took.labels("GET", "/api/v1/stats").observe(100)
Counter("signpost_ingest_clicks_total", "x").inc(8)
for name, values in {"size": (5, 5), "checked_out": (2, 0), "waiting": (0, 3)}.items():
    labels = ["database", "pool"]
    gauge = Gauge(f"signpost_db_pool_{name}", "x", labels, multiprocess_mode="livesum")
    gauge.labels("main", "transactions").set(values[0])
    gauge.labels("main", "statements").set(values[1])
Counter("signpost_unrelated_total", "x", ["le"]).labels("1").inc(1000)
"""


def count_in_a_process(folder: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    subprocess.run([sys.executable, "-c", _PROCESS], check=True, env=environ, timeout=30)


def test_counts_of_processes_add_up_and_outlive_them(tmp_path: Path) -> None:
    for _ in range(2):
        count_in_a_process(tmp_path)
    turns = []
    counted = CounterFiles(tmp_path, pause=lambda: turns.append(1)).read()
    del counted["generation"]
    assert counted == {
        "redirects.process": 14,
        "redirects.database": 4,
        "redirects.missing": 6,
        "redirects.other": 2,
        "redirects_failed": 2,
        "clicks_recorded": 18,
        "calls.2xx": 10,
        "calls.4xx": 2,
        "calls.5xx": 8,
        "clicks_counted": 16,
        **{f"call_time.{bound}": counted[f"call_time.{bound}"] for bound in _bounds(counted)},
    }
    assert counted["call_time.0.005"] == 198
    assert counted["call_time.+Inf"] == 2
    assert len(turns) == 4  # others had their turn in each file


def _bounds(counted: dict[str, float]) -> list[str]:
    return [name.removeprefix("call_time.") for name in counted if name.startswith("call_time.")]


def test_a_file_that_is_none_is_passed_over(tmp_path: Path) -> None:
    count_in_a_process(tmp_path)
    whole = CounterFiles(tmp_path).read()
    (tmp_path / "counter_1.db").write_bytes(b"")
    (tmp_path / "counter_2.db").write_bytes(b"\xff" * 5_000)
    (tmp_path / "histogram_3.db").write_bytes(b"\x40\0\0\0\0\0\0\0\x7f")
    assert CounterFiles(tmp_path).read() == whole


def test_connections_in_use_are_those_of_the_fullest_pool(tmp_path: Path) -> None:
    assert CounterFiles(tmp_path).pools() == {}
    count_in_a_process(tmp_path)
    assert CounterFiles(tmp_path).pools() == {"max.pool_share": 0.4, "max.pool_waiting": 3}


def test_without_a_folder_nothing_is_counted(tmp_path: Path) -> None:
    assert CounterFiles(tmp_path / "none").read() == {}


def test_quantiles_come_from_the_buckets(tmp_path: Path) -> None:
    count_in_a_process(tmp_path)
    counted = growth({}, CounterFiles(tmp_path).read())[0]
    hour = Hour(0, [None, counted | {"seconds": 60, "hosts": 1}, {"seconds": 60.0}])
    # 99 of 100 lie between 2.5 and 5 ms; of the last one only that it is past all bounds is known.
    assert hour.quantile(0.99, CALL_TIME) == [None, 0.005, None]
    (nothing, median, unmeasured) = hour.quantile(0.5, CALL_TIME)
    assert median is not None and 0.0037 < median < 0.0038
    assert (nothing, unmeasured) == (None, None)
    assert hour.quantile(0.999, CALL_TIME)[1] == 10
