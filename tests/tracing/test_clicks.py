"""The trace of a visit goes on to the transaction that counts its click, and that of a call to the
job that it asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.caller import Caller
from tests.clicks.brokers import new_broker
from tests.live.conftest import Web, webs
from tests.running import ROOT
from tests.titles.servers import Server, page, serving
from tests.titles.test_worker import forget, working
from tests.tracing.conftest import ask, served, traceparent
from tests.tracing.receiver import Receiver, SpanSeen, tree

HOST = {"Host": "sign.test"}


@contextmanager
def consuming(environ: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "scripts/consume-clicks"], cwd=ROOT, env=os.environ | environ
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@dataclass(frozen=True)
class System:
    """Every process that there is, with a RabbitMQ between them."""

    web: Web
    pages: Server
    queue: str
    jobs: str


@pytest.fixture(scope="module")
def system(
    environ: dict[str, str], receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    with new_broker() as broker, serving(page("From afar")) as pages:
        settings = {
            "AMQP_URL": os.environ["TEST_AMQP_URL"],
            "AMQP_QUEUE": broker.queue,
            "FETCH_TITLES": "true",
            "JOBS_QUEUE": f"test.jobs.{uuid.uuid4().hex[:12]}",
            "SIGNPOST_HOME": str(folder / "home"),
            "SPOOL_SEGMENT_SECONDS": "0.7",
            **receiver.settings,
        }
        together = environ | settings
        with consuming(together), working(together, pages.port), webs(environ, folder) as make:
            yield System(make(**settings), pages, broker.queue, settings["JOBS_QUEUE"])
        forget(settings)


def visit(web: Web, link: dict[str, Any], *, sampled: bool = True) -> tuple[str, str]:
    header, trace, span = traceparent(sampled=sampled)
    answer = ask(web.port, "GET", f"/{link['slug']}", headers=HOST | {"traceparent": header})
    assert answer.status == 302
    return trace, span


def counted(spans: list[SpanSeen]) -> bool:
    return {"SERVER", "CONSUMER"} <= {span.kind for span in spans}


def published_and_counted(spans: list[SpanSeen]) -> bool:
    return counted(spans) and any(span.kind == "PRODUCER" for span in spans)


def below(spans: list[SpanSeen], parent: SpanSeen) -> dict[str, SpanSeen]:
    return {span.name: span for span in spans if span.parent == parent.id}


def only(spans: list[SpanSeen], kind: str) -> SpanSeen:
    (found,) = [span for span in spans if span.kind == kind]
    return found


def check_ingest(spans: list[SpanSeen], consumed: SpanSeen) -> None:
    """Its two halves, with what each asks."""
    assert consumed.service == "signpost-clicks"
    halves = below(spans, consumed)
    assert set(halves) == {"ingest prepare", "ingest write"}
    written = below(spans, halves["ingest write"])
    assert {"INSERT ingested_segments", "COPY clicks", "COMMIT"} <= set(written), tree(spans)
    assert written["COPY clicks"].attributes["db.query.text"].endswith("FROM STDIN")


@pytest.mark.rabbitmq
def test_visit_is_followed_through_the_queue(
    system: System, receiver: Receiver, caller: Caller
) -> None:
    link = caller.create_link()
    visit(system.web, link, sampled=False)
    first, first_parent = visit(system.web, link)
    second, _ = visit(system.web, link)

    spans = receiver.wait(first, published_and_counted)
    root, published = only(spans, "SERVER"), only(spans, "PRODUCER")
    assert (root.parent, root.service) == (first_parent, "signpost-web")
    assert published.parent == root.id
    assert published.name == f"publish {system.queue}"
    others = receiver.wait(second, served)
    assert published.links == [(second, only(others, "SERVER").id)]
    consumed = only(spans, "CONSUMER")
    assert consumed.parent == published.id
    check_ingest(spans, consumed)


def test_visit_is_followed_through_the_spool(
    web: Web, environ: dict[str, str], receiver: Receiver, caller: Caller
) -> None:
    link = caller.create_link()
    with consuming(environ | receiver.settings):
        trace, _ = visit(web, link)
        spans = receiver.wait(trace, counted)
    consumed = only(spans, "CONSUMER")
    assert consumed.parent == only(spans, "SERVER").id
    assert consumed.attributes["messaging.system"] == "spool"
    check_ingest(spans, consumed)


def check_job(spans: list[SpanSeen], queue: str) -> SpanSeen:
    """A call, the job that it asked for, and what did that."""
    root, published, done = (only(spans, kind) for kind in ("SERVER", "PRODUCER", "CONSUMER"))
    assert root.name == "POST /api/v1/links"
    assert (published.parent, published.name) == (root.id, f"publish {queue}")
    assert (done.parent, done.name) == (published.id, "process titles.fetch")
    assert done.service == "signpost-worker"
    return done


def create_link(web: Web, caller: Caller) -> str:
    """Make a link that wants a title; the trace of the call."""
    header, trace, _ = traceparent()
    answer = ask(
        web.port,
        "POST",
        "/api/v1/links",
        body=b'{"url": "http://afar.example/page?with=secret"}',
        headers={
            "Authorization": f"Bearer {caller.key}",
            "Content-Type": "application/json",
            "traceparent": header,
        },
    )
    assert answer.status == 201
    return trace


@pytest.mark.rabbitmq
def test_call_is_followed_into_the_job_that_it_asked_for_and_out_of_the_house(
    system: System, receiver: Receiver, caller: Caller
) -> None:
    trace = create_link(system.web, caller)
    spans = receiver.wait(trace, published_and_counted)

    done = check_job(spans, system.jobs)
    asked = below(spans, done)
    assert "UPDATE title_fetches" in asked, tree(spans)
    sent = asked["GET"]
    assert sent.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "afar.example",
        "server.port": 80,
    }
    # Who was asked can go on with the trace, too.
    assert system.pages.asked[-1].headers["traceparent"] == f"00-{trace}-{sent.id}-01"
    assert b"with=secret" not in b"".join(receiver.bodies)


@pytest.mark.slow
def test_job_is_followed_through_redis(
    environ: dict[str, str], receiver: Receiver, caller: Caller, tmp_path: Path
) -> None:
    queue = f"test.jobs.{uuid.uuid4().hex[:12]}"
    settings = receiver.settings | {"FETCH_TITLES": "true", "JOBS_QUEUE": queue}
    with serving(page("From afar")) as pages, webs(environ, tmp_path) as make:
        web = make(**settings)
        with working(environ | settings, pages.port):
            trace = create_link(web, caller)
            check_job(receiver.wait(trace, published_and_counted), queue)
