"""From the broker to the database: each segment is counted once, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from api.clicks.consumer import Consumer
from api.clicks.ingest import Ingest
from api.clicks.queue.broker import Broker, close_quietly
from api.clicks.queue.source import QueueSource
from api.core.errors import Unavailable
from tests.clicks.brokers import channel_of, messages_in, new_broker, put_into
from tests.clicks.conftest import Counted
from tests.clicks.test_shipper import far_broker, relay
from tests.factories.clicks import a_click, a_link_id, a_segment
from tests.redirects.proxy import Relay
from tests.running import wait_until
from tests.scripting import run_script

pytestmark = pytest.mark.rabbitmq

__all__ = ["far_broker", "relay"]  # fixtures
ROOT = Path(__file__).parents[2]
Ask = Callable[[int], Counted]


@pytest.fixture
def broker() -> Iterator[Broker]:
    with new_broker() as made:
        yield made


def drain(broker: Broker, ingest: Ingest) -> Consumer:
    source = QueueSource(broker, 10)
    consumer = Consumer(source, ingest)
    consumer.drain()
    source.close()
    return consumer


def test_what_is_published_is_counted_once(broker: Broker, ingest: Ingest, counted: Ask) -> None:
    link = a_link_id()
    put_into(broker, *(a_segment([a_click(link)] * 2) for _ in range(25)))

    consumer = drain(broker, ingest)

    assert consumer.total.clicks == 50
    assert counted(link) == Counted(50, 50, 50)
    assert messages_in(broker, broker.queue) == 0


def test_a_segment_published_twice_is_counted_once(
    broker: Broker, ingest: Ingest, counted: Ask
) -> None:
    link = a_link_id()
    segment = a_segment([a_click(link)])
    put_into(broker, segment, segment)  # within one batch
    drain(broker, ingest)
    put_into(broker, segment)  # and after it

    consumer = drain(broker, ingest)

    assert consumer.total.repeated == 1
    assert counted(link) == Counted(1, 1, 1)
    assert messages_in(broker, broker.queue) == 0


def test_a_consumer_killed_between_commit_and_acknowledgement_changes_nothing(
    broker: Broker, ingest: Ingest, counted: Ask, environ: dict[str, str]
) -> None:
    link = a_link_id()
    put_into(broker, *(a_segment([a_click(link)]) for _ in range(5)))
    dies = (
        "import os, runpy, signal, sys\n"
        "sys.path[:0] = ['.', 'scripts']\n"
        "from api.clicks.queue.source import QueueSource\n"
        "QueueSource.acknowledge = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.argv = ['scripts/consume-clicks', '--once']\n"
        "runpy.run_path('scripts/consume-clicks', run_name='__main__')\n"
    )
    settings = {"AMQP_URL": broker.url, "AMQP_QUEUE": broker.queue}
    process = subprocess.run(
        [sys.executable, "-c", dies],
        cwd=ROOT,
        env=os.environ | environ | settings,
        check=False,
        timeout=60,
    )
    assert process.returncode == -signal.SIGKILL
    assert counted(link) == Counted(5, 5, 5)
    wait_until(lambda: messages_in(broker, broker.queue) == 5)

    consumer = drain(broker, ingest)

    assert consumer.total.repeated == 5
    assert counted(link) == Counted(5, 5, 5)
    assert messages_in(broker, broker.queue) == 0


def test_consumers_in_parallel_get_different_segments(broker: Broker) -> None:
    put_into(broker, *(a_segment([a_click(1)]) for _ in range(40)))
    sources = [QueueSource(broker, 5) for _ in range(3)]
    names: list[str] = []
    deadline = time.monotonic() + 20
    while len(names) < 40 and time.monotonic() < deadline:
        for source in sources:
            for segment in source.take(100):
                names.append(segment.name)
                source.acknowledge(segment)
    for source in sources:
        source.close()

    assert len(names) == len(set(names)) == 40
    assert messages_in(broker, broker.queue) == 0


def test_batches_overlap_and_are_settled_each_for_itself(broker: Broker) -> None:
    put_into(broker, *(a_segment([a_click(1)] * 10) for _ in range(6)))
    source = QueueSource(broker, 100)
    source.adopt_now()
    earlier = source.take(20)
    later = source.take(20)
    assert (len(earlier), len(later)) == (2, 2)

    for segment in later:
        source.acknowledge(segment)
    source.release()  # the earlier one is unsettled, and is taken again before the rest
    again = source.take(1000)

    assert again[:2] == earlier
    assert len(again) == 4
    source.close()
    wait_until(lambda: messages_in(broker, broker.queue) == 4)


def test_a_lost_connection_takes_back_what_is_unsettled(
    broker: Broker, far_broker: Broker, relay: Relay
) -> None:
    put_into(broker, a_segment([a_click(1)]), a_segment([a_click(1)]))
    source = QueueSource(far_broker, 10)
    source.adopt_now()
    taken = source.take(1)
    relay.cut()
    source.acknowledge(taken[0])  # nobody hears it
    with pytest.raises(Unavailable, match="AMQP_URL"):
        source.take(1)
    relay.restore()

    again = source.take(100)

    assert [segment.name for segment in again][:1] == [taken[0].name]
    for segment in again:
        source.acknowledge(segment)
    source.close()
    assert messages_in(broker, broker.queue) == 0


def test_a_segment_that_cannot_be_counted_goes_to_the_dead_queue_with_its_reason(
    broker: Broker, ingest: Ingest, counted: Ask
) -> None:
    link = a_link_id()
    poison = a_segment([a_click(link)], tail=b"{}\n")
    put_into(broker, poison, a_segment([a_click(link)]))

    consumer = drain(broker, ingest)

    assert list(consumer.total.rejected) == [poison.name]
    assert counted(link).rows == 1
    assert messages_in(broker, broker.queue) == 0
    with channel_of(broker) as channel:
        _, properties, body = channel.basic_get(broker.dead_queue)
    assert body == poison.body
    assert properties.message_id == poison.name
    assert "not the array of a click" in properties.headers["signpost-reason"]


def test_a_segment_that_kills_its_consumers_goes_to_the_dead_queue(broker: Broker) -> None:
    segment = a_segment([a_click(1)])
    put_into(broker, segment)
    for _ in range(51):
        with channel_of(broker) as channel:
            wait_until(lambda: channel.basic_get(broker.queue)[0] is not None, 10)

    wait_until(lambda: messages_in(broker, broker.dead_queue) == 1)
    assert messages_in(broker, broker.queue) == 0


def test_queues_that_an_operator_made_are_used_as_they_are(
    broker: Broker, ingest: Ingest, counted: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    link = a_link_id()
    other = replace(broker, max_queue_bytes=broker.max_queue_bytes * 2)
    close_quietly(other.connect(60))
    assert "used as it is" in caplog.text
    put_into(other, a_segment([a_click(link)]))

    drain(other, ingest)

    assert counted(link).rows == 1


def test_a_broker_that_is_away_is_told_in_one_line(environ: dict[str, str]) -> None:
    away = {"AMQP_URL": "amqp://127.0.0.1:1/", "LOG_LEVEL": "ERROR"}
    process = run_script("consume-clicks", "--once", env=os.environ | environ | away)

    assert process.returncode == 1
    assert process.stderr.count("\n") == 1, process.stderr
    assert "AMQP_URL" in process.stderr


def test_a_consumer_waits_for_its_broker_and_goes_on(
    broker: Broker,
    far_broker: Broker,
    relay: Relay,
    counted: Ask,
    environ: dict[str, str],
    tmp_path: Path,
) -> None:
    link = a_link_id()
    relay.cut()
    settings = {"AMQP_URL": far_broker.url, "AMQP_QUEUE": broker.queue}
    said = tmp_path / "said"
    with (
        said.open("w") as stream,
        subprocess.Popen(
            [sys.executable, str(ROOT / "scripts/consume-clicks")],
            env=os.environ | environ | settings,
            stderr=stream,
        ) as process,
    ):
        try:
            for number in (1, 2):
                wait_until(
                    lambda n=number: said.read_text().count("cannot be counted now") == n  # type: ignore[misc]
                )
                relay.restore()
                put_into(broker, a_segment([a_click(link)]))
                wait_until(lambda n=number: counted(link) == Counted(n, n, n))  # type: ignore[misc]
                relay.cut()
        finally:
            process.terminate()
            process.wait(timeout=30)
    assert process.returncode == 0, said.read_text()
    assert said.read_text().count("are counted again") == 2
