"""What a request does is one trace, as a real server exports it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.caller import Caller
from tests.live.conftest import Web, webs
from tests.redirects.proxy import Relay
from tests.running import wait_until
from tests.tracing.conftest import Answer, ask, served, traceparent
from tests.tracing.receiver import Receiver, SpanSeen, receiving

HOST = {"Host": "sign.test"}


def root_of(spans: list[SpanSeen]) -> SpanSeen:
    (root,) = [span for span in spans if span.kind == "SERVER"]
    return root


def visit(web: Web, link: dict[str, Any], **headers: str) -> Answer:
    answer = ask(web.port, "GET", f"/{link['slug']}?token=hidden", headers=HOST | headers)
    assert answer.status == 302
    return answer


def test_redirect_is_a_tree_with_its_questions(
    web: Web, receiver: Receiver, caller: Caller
) -> None:
    link = caller.create_link()
    header, trace, caller_span = traceparent()

    answer = visit(web, link, traceparent=header)

    spans = receiver.wait(trace, served)
    root = root_of(spans)
    assert (root.name, root.parent) == ("GET /<slug:slug>", caller_span)
    assert root.service == "signpost-web"
    assert root.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 302,
        "http.route": "/<slug:slug>",
        "url.path": f"/{link['slug']}",
        "url.scheme": "http",
        "signpost.request_id": answer.headers["x-request-id"],
        "signpost.cache_level": "database",
    }
    children = [span for span in spans if span is not root]
    assert all(span.parent == root.id and span.kind == "CLIENT" for span in children)
    questions = {span.attributes["db.system.name"]: span for span in children}
    assert set(questions) == {"postgresql", "redis"}
    (found,) = [span for span in children if span.name == "SELECT links"]
    assert "FROM links" in found.attributes["db.query.text"]
    assert link["slug"] not in found.attributes["db.query.text"]
    assert all(0 <= span.seconds <= root.seconds for span in children)


def test_call_of_the_api_is_named_by_its_route(
    web: Web, receiver: Receiver, caller: Caller
) -> None:
    link = caller.create_link()
    header, trace, _ = traceparent()
    credential = {"Authorization": f"Bearer {caller.key}", "traceparent": header}
    assert ask(web.port, "GET", f"/api/v1/links/{link['id']}", headers=credential).status == 200
    root = root_of(receiver.wait(trace, served))
    assert root.name == "GET /api/v1/links/<id:link_id>"
    assert root.attributes["url.path"] == f"/api/v1/links/{link['id']}"
    assert not root.failed


def test_caller_decides_what_is_sampled(web: Web, receiver: Receiver, caller: Caller) -> None:
    link = caller.create_link()
    visit(web, link)  # from here on the answer is prepared
    unsampled, left_out, _ = traceparent(sampled=False)
    sampled, trace, _ = traceparent()
    visit(web, link, traceparent=unsampled)
    visit(web, link, traceparent=sampled)
    assert root_of(receiver.wait(trace, served)).attributes["http.response.status_code"] == 302
    assert receiver.spans(left_out) == []


@pytest.mark.parametrize(
    "header",
    [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "4bf92f3577b34da6a3ce929d0e0e4736-01",
        "'; DROP TABLE links; --",
    ],
)
def test_what_is_no_context_begins_a_trace_anew(web: Web, receiver: Receiver, header: str) -> None:
    def asked() -> list[SpanSeen]:
        return [span for span in receiver.spans() if span.name == "GET /favicon.ico"]

    before = len(asked())
    assert ask(web.port, "GET", "/favicon.ico", headers={"traceparent": header}).status == 200
    wait_until(lambda: len(asked()) > before)
    root = asked()[-1]
    assert root.trace not in header
    assert root.parent == ""


def test_context_of_a_later_version_is_continued(web: Web, receiver: Receiver) -> None:
    header, trace, span = traceparent()
    later = header.replace("00-", "cc-", 1) + "-what.comes"
    assert ask(web.port, "GET", "/robots.txt", headers={"traceparent": later}).status == 200
    assert root_of(receiver.wait(trace, served)).parent == span


def test_log_line_names_the_trace(web: Web, receiver: Receiver) -> None:
    header, trace, _ = traceparent()
    ask(web.port, "GET", "/api/v1/links", headers={"traceparent": header})
    wait_until(lambda: trace in web.output)


def test_stream_is_traced_until_its_end(web: Web, receiver: Receiver, caller: Caller) -> None:
    header, trace, _ = traceparent()
    credential = {"Authorization": f"Bearer {caller.key}", "traceparent": header}
    connection = HTTPConnection("127.0.0.1", web.port, timeout=20)
    connection.request("GET", "/api/v1/live", headers=credential)
    response = connection.getresponse()
    assert response.read(5)
    time.sleep(0.5)
    assert receiver.spans(trace) == []
    response.close()
    connection.close()
    assert root_of(receiver.wait(trace, served)).seconds > 0.4


def test_file_is_sent_whole(web: Web, receiver: Receiver) -> None:
    header, trace, _ = traceparent()
    path = "/docs/assets/swagger-ui.css"
    answer = ask(web.port, "GET", path, headers={"traceparent": header})
    assert answer.status == 200
    assert len(answer.body) == int(answer.headers["content-length"]) > 100_000
    assert root_of(receiver.wait(trace, served)).attributes["url.path"] == path


def test_nothing_secret_is_exported(web: Web, receiver: Receiver, caller: Caller) -> None:
    link = caller.create_link(password="open sesame 4711")
    header, trace, _ = traceparent()
    agent = "Agent of nobody 0815"
    common = HOST | {"traceparent": header, "User-Agent": agent, "X-Forwarded-For": "203.0.113.7"}
    form = common | {"Content-Type": "application/x-www-form-urlencoded"}
    path = f"/{link['slug']}?secret=in-the-query"
    sent = ask(web.port, "POST", path, headers=form, body="password=open+sesame+4711")
    assert sent.status == 303
    bearer = common | {"Authorization": f"Bearer {caller.key}"}
    assert ask(web.port, "GET", "/api/v1/links?q=looked-for", headers=bearer).status == 200
    assert ask(web.port, "GET", "/no/such-thing?x=y", headers=common).status == 404
    receiver.wait(trace, lambda spans: sum(span.kind == "SERVER" for span in spans) == 3)
    exported = b"".join(receiver.bodies)
    for secret in (caller.key, "sesame", "in-the-query", agent, "203.0.113", "looked-for", "x=y"):
        assert secret.encode() not in exported
        assert secret.encode("utf-16le") not in exported


@pytest.fixture
def relay(database_url: str) -> Iterator[Relay]:
    url = make_url(database_url)
    with Relay(url.host or "127.0.0.1", url.port or 5432) as running:
        yield running


@pytest.fixture
def unsampled(
    environ: dict[str, str], relay: Relay, receiver: Receiver, tmp_path: Path
) -> Iterator[Web]:
    """A server that samples nothing by itself, and whose database can be taken away."""
    url = make_url(environ["DATABASE_URL"]).set(host="127.0.0.1", port=relay.port)
    with webs(environ, tmp_path) as make:
        changes = {
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
            "OTEL_SERVICE_NAME": "mine",
            "DATABASE_URL": url.render_as_string(hide_password=False),
            "DB_CONNECT_TIMEOUT_SECONDS": "1",
        }
        yield make(**receiver.settings | changes)


def test_request_that_fails_is_kept_though_it_was_not_sampled(
    unsampled: Web, relay: Relay, receiver: Receiver, caller: Caller
) -> None:
    link = caller.create_link()
    credential = {"Authorization": f"Bearer {caller.key}"}
    path = f"/api/v1/links/{link['id']}"
    good, unseen, _ = traceparent(sampled=False)
    bad, trace, _ = traceparent(sampled=False)
    assert (
        ask(unsampled.port, "GET", path, headers=credential | {"traceparent": good}).status == 200
    )
    relay.cut()
    answer = ask(unsampled.port, "GET", path, headers=credential | {"traceparent": bad})
    assert answer.status == 503

    spans = receiver.wait(trace, served)

    root = root_of(spans)
    assert root.failed
    assert root.service == "mine"
    assert root.attributes["error.type"] == "503"
    (question,) = [span for span in spans if span.failed and span is not root]
    assert question.attributes["error.type"] == "OperationalError"
    assert receiver.spans(unseen) == []


def test_receiver_that_is_away_costs_one_line_and_what_waits_at_the_end_is_sent(
    environ: dict[str, str], caller: Caller, tmp_path: Path
) -> None:
    with receiving() as receiver, webs(environ, tmp_path) as make:
        receiver.status = 400
        # Sent when there are so many, and at the end.
        changes = {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "3"}
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=let%20me%20in"}
        web = make(**receiver.settings | changes | headers)
        link = caller.create_link()
        started = time.monotonic()
        for number in range(9):
            visit(web, link)
            wait_until(lambda refused=number // 3: len(receiver.paths) >= refused)
        assert time.monotonic() - started < 4
        assert set(receiver.paths) == {"/v1/traces"}
        assert receiver.headers[0]["api-key"] == "let me in"
        assert web.output.count("traces are dropped") == 1
        assert "opentelemetry" not in web.output

        receiver.status = 200
        waiting = ""
        while not waiting:
            header, trace, _ = traceparent()
            visit(web, link, traceparent=header)
            time.sleep(0.2)
            waiting = "" if receiver.spans(trace) else trace
        assert web.stop() == 0
        assert served(receiver.spans(waiting))
        assert web.output.count("traces are exported again") == 1
