"""The files in which processes count: what goes, what stays, and what a kill does to them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from api.core.dependencies import Dependencies
from api.core.metrics import files, process
from api.core.metrics.families import Told, counter, gauge
from api.core.metrics.files import AllProcesses, MetricFiles
from api.core.metrics.process import ProcessMetrics


def files_of(folder: Path, tell: Callable[[], Iterator[Metric]]) -> MetricFiles:
    registry = CollectorRegistry()
    registry.register(Told(tell))
    made = MetricFiles(folder, registry)
    made.open()
    return made


def told(folder: Path) -> dict[str, dict[str, float]]:
    return {
        metric.name: {"/".join(sample.labels.values()): sample.value for sample in metric.samples}
        for metric in AllProcesses(folder).collect()
    }


def test_a_gauge_that_nobody_knows_any_more_is_not_told(tmp_path: Path) -> None:
    up = {("redis",): 0.0, ("database",): 1.0}

    def tell() -> Iterator[Metric]:
        yield gauge("up", "x", dict(up), ("dependency",), across="livemin")
        yield counter("done", "x", {(): 7})

    made = files_of(tmp_path, tell)
    made.write()
    assert told(tmp_path) == {"up": {"redis": 0, "database": 1}, "done": {"": 7}}
    del up["redis",]
    made.write()
    assert told(tmp_path) == {"up": {"database": 1}, "done": {"": 7}}
    up.clear()
    made.write()
    assert told(tmp_path) == {"done": {"": 7}}
    up["redis",] = 1.0
    made.write()
    assert told(tmp_path) == {"up": {"redis": 1}, "done": {"": 7}}
    made.close()


def _count_and_die(folder: Path) -> None:
    files_of(folder, lambda: iter([counter("done", "x", {(): 10})])).write()
    os._exit(0)


def _clear_and_be_killed(folder: Path, step: str) -> None:
    real: Any = getattr(Path, step)

    def killed(path: Path, *rest: Any, **more: Any) -> Any:
        if step == "rename" or path.suffix == ".db":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path, *rest, **more)

    setattr(Path, step, killed)
    files.clear_dead(folder)


@pytest.mark.parametrize("step", ["rename", "unlink"])
def test_who_is_killed_while_adding_up_makes_nothing_count_twice(tmp_path: Path, step: str) -> None:
    fork = multiprocessing.get_context("fork")
    for target, rest in ((_count_and_die, ()), (_clear_and_be_killed, (step,))):
        child = fork.Process(target=target, args=(tmp_path, *rest))
        child.start()
        child.join(30)
    assert child.exitcode == -signal.SIGKILL
    for _ in range(2):
        assert told(tmp_path) == {"done": {"": 10}}
    assert {path.name for path in tmp_path.iterdir()} == {"counter_0.db", "lock"}


def test_of_dependencies_of_one_name_the_worst_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Dependencies()
    known.of("redis", "a").failed("away")
    known.of("redis", "b").answered()
    monkeypatch.setattr(process, "dependencies", known)
    found = {metric.name: metric for metric in ProcessMetrics("web").collect()}
    assert [sample.value for sample in found["signpost_dependency_up"].samples] == [0]
