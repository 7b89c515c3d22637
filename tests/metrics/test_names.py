"""A start with RabbitMQ: queues, shipper and jobs; and docs/metrics.md names what is told."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metrics.scrape import TOKEN, Scrape
from tests.running import BROWSER, ROOT, RunningSignpost, clean_environ, running, wait_until

pytestmark = pytest.mark.rabbitmq

# Told under conditions that are not given here.
_CONDITIONAL = {
    "signpost_replica_up",
    "signpost_replica_lag_seconds",
    "signpost_replica_reads_total",
    "signpost_replica_ejections_total",
    "signpost_primary_up",
    "signpost_primary_reads_total",
    "signpost_log_lines_total",
}
_NAME = re.compile(r"^\| `(signpost_[a-z_]+)(?:\{([a-z, ]*)\})?`", re.MULTILINE)


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    name = uuid.uuid4().hex[:8]
    return {
        "METRICS_TOKEN": TOKEN,
        "AMQP_URL": os.environ["TEST_AMQP_URL"],
        "AMQP_QUEUE": f"clicks-{name}",
        "JOBS_QUEUE": f"jobs-{name}",
        "FETCH_TITLES": "true",
    }


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]
) -> Iterator[RunningSignpost]:
    home = tmp_path_factory.mktemp("names") / "home"
    with running(home, **settings) as started:
        environ = clean_environ(home, **settings, DATABASE_URL=database_of(started))
        worker = subprocess.Popen([sys.executable, ROOT / "scripts/run-jobs"], env=environ)
        try:
            yield started
        finally:
            worker.terminate()
            worker.wait(30)


def database_of(site: RunningSignpost) -> str:
    """Where the embedded server listens."""
    for number, line in site.children().items():
        if "gunicorn" in line:
            for entry in Path(f"/proc/{number}/environ").read_bytes().split(b"\0"):
                name, _, value = entry.partition(b"=")
                if name == b"DATABASE_URL":
                    return value.decode()
    raise AssertionError("no gunicorn")


@pytest.fixture(scope="module")
def told(site: RunningSignpost) -> Scrape:
    """After a link was made, followed and exported."""
    link = site.call("POST", "/api/v1/links", {"url": "http://127.0.0.1:1/"})
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    for _ in range(10):
        connection.request("GET", f"/{link['slug']}", headers={"User-Agent": BROWSER})
        connection.getresponse().read()
    connection.request("GET", "/no-such-link")
    connection.getresponse().read()
    key = {"Authorization": f"Bearer {site.key}"}
    connection.request("GET", "/api/v1/exports/links", headers=key)
    connection.getresponse().read()
    connection.close()
    wait_until(lambda: site.clicks(link["id"]) == 10)
    wait_until(lambda: _is_all_there(Scrape(site.port)), 30)
    return Scrape(site.port)


def _is_all_there(now: Scrape) -> bool:
    queues = now.labels("signpost_queue_messages", "queue")
    done = now("signpost_jobs_total") > 0 and now("signpost_exports_total") > 0
    return done and queues == {"clicks", "dead", "jobs"}


def test_queues_and_their_ends_are_told(told: Scrape) -> None:
    assert told("signpost_queue_consumers", queue="clicks") == 1
    assert told("signpost_queue_consumers", queue="jobs") >= 1
    assert told("signpost_queue_consumers", queue="dead") == 0
    assert told("signpost_broker_up") == 1
    confirmed = told("signpost_segments_confirmed_total")
    assert confirmed == told("signpost_ship_duration_seconds_count") >= 1
    assert told("signpost_ingest_segments_total") >= 1
    assert told("signpost_ingest_clicks_total") == 10
    assert told("signpost_jobs_total", outcome="succeeded") == 1
    # Before any failed, or `increase()` would know nothing of the first.
    assert told.labels("signpost_jobs_total", "outcome") == {"succeeded", "later", "failed"}
    kinds = told.labels("signpost_process_resident_memory_bytes", "process")
    assert kinds == {"web", "clicks", "worker"}
    assert told("signpost_build_info") == 1


def test_each_metric_is_in_the_document_and_each_of_the_document_is_told(told: Scrape) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    documented = {
        name: {label for label in labels.replace(" ", "").split(",") if label}
        for name, labels in _NAME.findall(text)
    }
    found: dict[str, set[str]] = {}
    for family in told.families.values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels}
        found.setdefault(name, set()).update(labels - {"le"})
    assert set(found) - set(documented) == set()
    assert set(documented) - set(found) <= _CONDITIONAL
    assert {name: documented[name] for name in found} == found
