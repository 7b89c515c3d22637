"""Segments that know whose clicks they hold, and are read by those who do not care."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.clicks.records import header_line, read_segment
from api.clicks.traced_spool import TracedSpool
from api.clicks.traces import read_traces
from api.core.tracing.sampling import Sampler
from api.core.tracing.spans import MOST_LINKS, SERVER
from api.core.tracing.tracer import Tracer
from tests.factories.clicks import a_click


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[TracedSpool]:
    spool = TracedSpool(tmp_path, 1_000_000, 60.0, 100_000_000)
    spool.start()
    yield spool
    spool.close()


def tracer(*, samples: bool) -> Tracer:
    made = Tracer()
    made.sampler = Sampler(float(samples), follows_parent=True)
    return made


def record(spool: TracedSpool, number: int, *, sampled: bool) -> str:
    with tracer(samples=sampled).trace("visit", SERVER, {}) as span:
        spool.record(a_click(number))
    return span.context.to_traceparent()


def sealed(spool: TracedSpool) -> bytes:
    spool.close()
    (path,) = spool.ready_segments()
    return path.read_bytes()


def test_segment_names_the_sampled_of_its_requests(spool: TracedSpool) -> None:
    given = [record(spool, number, sampled=number % 2 == 1) for number in range(5)]
    body = sealed(spool)
    assert [context.to_traceparent() for context in read_traces(body)] == [given[1], given[3]]


def test_first_click_of_a_segment_is_named_too(spool: TracedSpool) -> None:
    given = record(spool, 1, sampled=True)
    assert [context.to_traceparent() for context in read_traces(sealed(spool))] == [given]


def test_no_more_are_named_than_there_is_room_for(spool: TracedSpool) -> None:
    given = [record(spool, number, sampled=True) for number in range(MOST_LINKS + 5)]
    body = sealed(spool)
    found = [context.to_traceparent() for context in read_traces(body)]
    assert found == given[:MOST_LINKS]
    assert len(read_segment(body).records) == MOST_LINKS + 5


@pytest.mark.parametrize("sampled", [0, 1, 3])
def test_who_knows_nothing_of_traces_reads_the_same_segment(
    spool: TracedSpool, sampled: int
) -> None:
    for number in range(3):
        record(spool, number, sampled=number < sampled)
    body = sealed(spool)
    segment = read_segment(body)
    assert [click.link_id for click in segment.records] == [0, 1, 2]
    assert not segment.torn
    # As a reader of the first releases did it: a line of JSON, three keys of it.
    header = json.loads(body.splitlines()[0])
    assert (header["v"], header["segment"], header["created_ms"]) == (
        2,
        segment.id,
        segment.created_ms,
    )


def test_visits_of_many_threads_are_all_there(spool: TracedSpool) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        done = pool.map(lambda number: record(spool, number, sampled=True), range(200))
        given = set(done)
    spool.close()
    bodies = [path.read_bytes() for path in spool.ready_segments()]
    named = list(itertools.chain.from_iterable(map(read_traces, bodies)))
    assert {context.to_traceparent() for context in named} <= given
    assert sum(len(read_segment(body).records) for body in bodies) == 200


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\n",
        b'{"v":2',
        header_line("a", 1),
        b'{"v":2,"traces":["no"]}\n',
        b'{"v":2,"traces":[1,null]}\n',
        b'{"v":2,"traces":[}\n',
        b'[1,"a","traces":[\n',
    ],
)
def test_header_without_contexts_has_none(header: bytes) -> None:
    assert read_traces(header) == []
