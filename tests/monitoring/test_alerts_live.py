"""A running system that Prometheus watches: all that is asked for is told; one alert's life."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.monitoring import sources
from tests.monitoring.watched import Watched, watched

# What is told only where there is such a thing, or once it has happened.
_WITH_BROKER = {
    "signpost_broker_up",
    "signpost_queue_messages",
    "signpost_queue_consumers",
    "signpost_segments_shipped_total",
    "signpost_segments_confirmed_total",
    "signpost_segments_refused_total",
    "signpost_ship_duration_seconds_bucket",
}
_WITH_REPLICAS = {
    "signpost_replica_up",
    "signpost_replica_lag_seconds",
    "signpost_replica_reads_total",
    "signpost_replica_ejections_total",
    "signpost_primary_reads_total",
}
_WITH_JOBS = {"signpost_jobs_total", "signpost_job_duration_seconds_bucket"}
_ONCE_IT_HAPPENED = {"signpost_log_lines_total"}
CONDITIONAL = _WITH_BROKER | _WITH_REPLICAS | _WITH_JOBS | _ONCE_IT_HAPPENED


@pytest.fixture(scope="module")
def system() -> Iterator[Watched]:
    """Of one host, without a broker."""
    with watched(broker=False, links=2) as started:
        yield started


def asked_for() -> dict[str, set[str]]:
    """Each metric that a rule or a panel names, with the labels that it is selected by."""
    queries = [rule["expr"] for rule in sources.rules()] + list(sources.questions().values())
    asked: dict[str, set[str]] = {}
    for query in queries:
        for name in sources.metrics_of(query):
            asked.setdefault(name, set())
        for name, selector in re.findall(r"\b(signpost_\w+)\{([^}]*)\}", query):
            asked[name] |= set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"", selector))
    return asked


def test_all_that_rules_and_panels_ask_for_is_told(system: Watched) -> None:
    link = system.links[0]
    for path in (f"/{link['slug']}", f"/{link['slug']}", "/no-such-link"):
        system.status(path)
    system.until(lambda: system.clicks(link) == 2, 30)
    wanted = asked_for()
    told: dict[str, set[str]] = {}

    def missing() -> set[str]:
        for series in system.prometheus.ask('{__name__=~"signpost_.+"}'):
            labels = series["metric"]
            told.setdefault(labels["__name__"], set()).update(labels)
        return set(wanted) - set(told) - CONDITIONAL

    system.until(lambda: not missing(), 15, lambda: f"nobody tells {sorted(missing())}")
    for name, labels in wanted.items():
        assert labels <= told.get(name, labels), name
    # The list of exceptions holds nothing that is asked for by nobody.
    assert set(wanted) >= CONDITIONAL


def test_clicks_that_nobody_counts_are_told_of_until_a_consumer_is_started(system: Watched) -> None:
    link = system.links[1]
    system.end()

    system.stop_consumer()
    assert system.status(f"/{link['slug']}") == 302
    system.fire("SignpostSpoolNotDraining", "SignpostProcessGone")

    system.start_consumer()
    system.end()
    system.until(lambda: system.clicks(link) == 1, 20)
