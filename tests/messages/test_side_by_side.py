"""Old and new processes on one queue: each segment is counted once, whoever wrote it and whoever
takes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest

from api.clicks import records
from api.clicks.consumer import Consumer
from api.clicks.folder import new_segment_id
from api.clicks.ingest import Ingest, RawSegment
from api.clicks.queue.broker import Broker
from api.clicks.queue.dead_letters import DeadQueue
from api.clicks.queue.source import QueueSource
from tests.clicks.brokers import channel_of, messages_in, new_broker, put_into
from tests.clicks.conftest import Counted, counted, enricher, ingest
from tests.factories.clicks import a_click, a_link_id, a_segment, now_ms
from tests.messages.samples import LINK, SAMPLES, SEGMENT
from tests.running import wait_until

pytestmark = pytest.mark.rabbitmq

__all__ = ["counted", "enricher", "ingest"]  # fixtures
SEGMENTS = Path(__file__).parents[1] / "data" / "segments"
Ask = Callable[[int], Counted]


@pytest.fixture
def broker() -> Iterator[Broker]:
    with new_broker() as made:
        yield made


def sample(name: str, link: int) -> RawSegment:
    """A kept segment, as that of a new link, clicked now; two clicks."""
    body = (SEGMENTS / f"{name}.ready").read_bytes().replace(str(LINK).encode(), b"%d" % link)
    header, _, lines = body.partition(b"\n")
    segment_id, then = json.loads(header)["segment"], json.loads(header)["created_ms"]
    ours, now = new_segment_id(now_ms()), now_ms()
    header = header.replace(segment_id.encode(), ours.encode()).replace(b"%d" % then, b"%d" % now)
    # The first eight digits of the time are the day's; the rest tells the clicks apart.
    lines = lines.replace(b"[%d" % (then // 1000), b"[%d" % (now // 1000))
    return RawSegment(ours, header + b"\n" + lines)


def newer(segment: RawSegment) -> RawSegment:
    """The same, written by a release that this code does not know."""
    return segment._replace(body=segment.body.replace(b'{"v":2', b'{"v":3', 1))


def drain(broker: Broker, ingest: Ingest) -> Consumer:
    source = QueueSource(broker, 4)
    consumer = Consumer(source, ingest)
    try:
        consumer.drain()
    finally:
        source.close()
    return consumer


def replay(broker: Broker) -> list[str]:
    """As `scripts/dead-letters replay --all` does; the reasons."""
    with DeadQueue(broker) as dead:
        reasons = []
        for letter in dead.scan():
            reasons.append(letter.reason)
            dead.replay(letter)
    return reasons


def test_segments_of_all_versions_are_counted_once_each(
    broker: Broker, ingest: Ingest, counted: Ask
) -> None:
    links = {name: a_link_id() for name in ("v1", "v2", "v2-traced")}
    segments = [sample(name, link) for _ in range(4) for name, link in links.items()]
    put_into(broker, *segments, *segments[:3])  # and some came twice

    consumer = drain(broker, ingest)

    assert consumer.total.rejected == {}
    assert {name: counted(link).total for name, link in links.items()} == dict.fromkeys(links, 8)
    assert messages_in(broker, broker.queue) == 0


def test_labels_and_fields_that_are_not_known_are_read_past(
    broker: Broker, ingest: Ingest, counted: Ask
) -> None:
    link = a_link_id()
    segment = a_segment([a_click(link)])
    header, _, lines = segment.body.partition(b"\n")
    body = header[:-1] + b',"region":"eu","codec":{"name":"none"}}\n' + lines
    labels = next(it for it in SAMPLES if it.name == "segment-properties").path.read_bytes()
    told = json.loads(labels)
    headers = told.pop("headers") | {"schema": 2, "region": "eu"}
    assert told["message_id"] == SEGMENT
    told["message_id"] = segment.name
    with channel_of(broker) as channel:
        channel.confirm_delivery()
        properties = pika.BasicProperties(headers=headers, **told)
        channel.basic_publish(broker.queue, broker.queue, body, properties, mandatory=True)

    drain(broker, ingest)

    assert counted(link) == Counted(1, 1, 1)


def test_a_segment_of_a_later_version_waits_for_a_consumer_that_knows_it(
    broker: Broker, ingest: Ingest, counted: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = a_link_id()
    put_into(broker, newer(sample("v2", link)), sample("v2", link))

    consumer = drain(broker, ingest)  # the consumer of this release

    assert len(consumer.total.rejected) == 1
    assert counted(link).total == 2
    wait_for_dead(broker, 1)
    monkeypatch.setattr(records, "_VERSIONS", (1, 2, 3))  # the next one
    assert replay(broker) == ["SegmentError: version 3 is unknown here"]
    drain(broker, ingest)
    assert counted(link).total == 4
    assert messages_in(broker, broker.dead_queue) == 0


@pytest.mark.slow
def test_consumers_of_two_releases_take_from_one_queue(
    broker: Broker, ingest: Ingest, counted: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One knows only version 1, the other both; both kinds of segments come in between."""
    links = {name: a_link_id() for name in ("v1", "v2")}
    put_into(broker, *(sample(name, link) for _ in range(10) for name, link in links.items()))
    before, now = QueueSource(broker, 2), QueueSource(broker, 2)
    consumers = {before: Consumer(before, ingest), now: Consumer(now, ingest)}
    for source in consumers:
        source.adopt_now()
    idle = 0
    while idle < 2:
        for source, consumer in consumers.items():
            with monkeypatch.context() as patched:
                if source is before:
                    patched.setattr(records, "_VERSIONS", (1,))
                idle = 0 if consumer._step() else idle + 1
    for source in consumers:
        source.close()

    assert all(consumer.total.clicks for consumer in consumers.values())
    assert counted(links["v1"]).total == 20
    refused = consumers[before].total.rejected
    assert counted(links["v2"]).total == 20 - 2 * len(refused)
    wait_for_dead(broker, len(refused))
    assert set(replay(broker)) <= {"SegmentError: version 2 is unknown here"}
    drain(broker, ingest)
    assert {name: counted(link).total for name, link in links.items()} == {"v1": 20, "v2": 20}


def wait_for_dead(broker: Broker, number: int) -> None:
    wait_until(lambda: messages_in(broker, broker.dead_queue) == number, 10)
