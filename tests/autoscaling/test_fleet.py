"""What a Procfile host is told of its consumers: by the queue as RabbitMQ has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from api.core.load_reporter import LoadReporter
from api.operations.autoscaling import Policy
from api.operations.fleet import SEGMENTS_PER_CONSUMER, Fleet
from config.settings import Settings
from tests.clicks.brokers import new_broker, put_into
from tests.factories.clicks import a_click, a_link_id, a_segment
from tests.running import clean_environ
from tests.scripting import run_script


@pytest.mark.rabbitmq
def test_consumers_are_wanted_by_what_waits_in_the_queue(tmp_path: Path) -> None:
    policy = Policy(low=1, high=2)
    reporter = LoadReporter(tmp_path / "load", 10, lambda: (0, 0))
    with new_broker() as broker:
        settings = replace(
            Settings.load({"SIGNPOST_HOME": str(tmp_path)}),
            amqp_url=broker.url,
            amqp_queue=broker.queue,
        )
        reporter.write()
        try:
            empty = Fleet(settings, policy).advise(2, None)["clicks"]
            assert (empty.queued, empty.wanted) == (0, 1)
            put_into(broker, *(a_segment([a_click(a_link_id())]) for _ in range(3)))
            assert broker.queued() == 3
            put_into(
                broker,
                *(a_segment([a_click(a_link_id())]) for _ in range(SEGMENTS_PER_CONSUMER * 3)),
            )
            full = Fleet(settings, policy).advise(2, None)["clicks"]
        finally:
            reporter.stop()
    assert (full.queued, full.wanted) == (SEGMENTS_PER_CONSUMER * 3 + 3, 2)  # as many as may be


def test_a_broker_that_is_away_is_one_line(tmp_path: Path) -> None:
    reporter = LoadReporter(tmp_path / "load", 10, lambda: (0, 0))
    reporter.write()
    environ = clean_environ(tmp_path, AMQP_URL="amqp://guest:guest@127.0.0.1:1/")
    try:
        done = run_script("autoscale", "--processes", 2, env=environ)
    finally:
        reporter.stop()
    assert done.returncode == 1
    assert done.stderr.startswith("scripts/autoscale: AMQP_URL does not answer")
