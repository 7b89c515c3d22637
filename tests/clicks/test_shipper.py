"""From the spool folder to the broker: a file goes when its message is confirmed, not before."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pika
import pytest

from api.clicks.folder import SpoolFolder
from api.clicks.ingest import RawSegment
from api.clicks.queue.broker import Broker
from api.clicks.queue.shipper import Shipper
from api.clicks.spool import Spool
from tests.clicks.brokers import channel_of, messages_in, new_broker
from tests.factories.clicks import a_click, a_segment, now_ms
from tests.redirects.proxy import Relay
from tests.running import wait_until

pytestmark = pytest.mark.rabbitmq

Put = Callable[[RawSegment], Path]
MakeShipper = Callable[[Broker], Shipper]


@pytest.fixture
def broker() -> Iterator[Broker]:
    with new_broker() as made:
        yield made


@pytest.fixture
def relay() -> Iterator[Relay]:
    server = pika.URLParameters(os.environ["TEST_AMQP_URL"])
    with Relay(server.host, server.port) as made:
        yield made


@pytest.fixture
def far_broker(broker: Broker, relay: Relay) -> Broker:
    """The broker behind a line that can be cut."""
    server = pika.URLParameters(broker.url)
    return replace(
        broker, url=broker.url.replace(f":{server.port}", f":{relay.port}"), timeout_seconds=2.0
    )


@pytest.fixture
def ship(folder: SpoolFolder) -> Iterator[MakeShipper]:
    """Start a shipper; it is stopped in the end."""
    with ExitStack() as stack:

        def start(broker: Broker) -> Shipper:
            shipper = Shipper(folder, broker)
            shipper.start()
            stack.callback(shipper.stop, 5)
            return shipper

        yield start


def test_a_segment_travels_as_it_is_and_its_file_goes(
    folder: SpoolFolder, broker: Broker, ship: MakeShipper, put: Put
) -> None:
    segment = a_segment([a_click(1)] * 3)
    path = put(segment)

    shipper = ship(broker)

    wait_until(lambda: not path.exists())
    assert (shipper.state.shipped, shipper.state.confirmed, shipper.state.up) == (1, 1, True)
    with channel_of(broker) as channel:
        _, properties, body = channel.basic_get(broker.queue, auto_ack=True)
    assert body == segment.body
    assert properties.message_id == segment.name
    assert properties.delivery_mode == 2
    assert properties.content_type == "application/x-ndjson"
    assert properties.headers["schema"] == 1
    assert abs(properties.headers["created_ms"] - now_ms()) < 60_000


def test_what_a_spool_seals_is_shipped_at_once(folder: SpoolFolder, broker: Broker) -> None:
    shipper = Shipper(folder, broker)
    spool = Spool(folder.path, 1_000_000, 0.02, 1_000_000, on_seal=shipper.wake)
    shipper.start()
    wait_until(lambda: shipper.state.up)
    time.sleep(0.2)
    spool.start()
    started = time.monotonic()
    spool.record(a_click(1))
    wait_until(lambda: shipper.state.confirmed == 1)
    seconds = time.monotonic() - started
    spool.record(a_click(1))
    spool.close()
    shipper.stop(5)

    assert seconds < 0.7  # it would look by itself once a second
    assert shipper.state.confirmed == 2
    assert list(folder.path.iterdir()) == []


def test_without_a_confirm_the_file_stays_and_goes_later(
    folder: SpoolFolder,
    far_broker: Broker,
    relay: Relay,
    ship: MakeShipper,
    put: Put,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    shipper = ship(far_broker)
    wait_until(lambda: shipper.state.up)
    relay.hang()
    path = put(a_segment([a_click(1)]))
    wait_until(lambda: shipper.state.shipped == 1)
    wait_until(lambda: not shipper.state.up)
    assert path.exists()

    relay.cut()
    time.sleep(0.5)
    relay.restore()

    wait_until(lambda: not path.exists())
    told = [record.message for record in caplog.records if "shipped" in record.message]
    assert len(told) == 2, told
    assert "cannot be shipped" in told[0]
    assert "shipped again" in told[1]


def test_workers_of_a_folder_share_the_work(
    folder: SpoolFolder, broker: Broker, ship: MakeShipper, put: Put
) -> None:
    for _ in range(200):
        put(a_segment([a_click(1)]))

    shippers = [ship(broker) for _ in range(4)]

    wait_until(lambda: not folder.ready_segments())
    wait_until(lambda: sum(shipper.state.confirmed for shipper in shippers) == 200)
    assert sum(shipper.state.shipped for shipper in shippers) == 200
    wait_until(lambda: messages_in(broker, broker.queue) == 200)


def test_a_full_queue_leaves_segments_in_the_spool_until_there_is_room(
    folder: SpoolFolder, ship: MakeShipper, put: Put
) -> None:
    with new_broker(max_queue_bytes=1_000_000) as broker:
        for _ in range(8):
            put(a_segment([a_click(1)] * 3_000))

        shipper = ship(broker)

        wait_until(lambda: shipper.state.refused > 0)
        assert shipper.state.up
        assert shipper.state.trouble == "the queue is full"
        waiting = len(folder.ready_segments())
        assert 1 <= waiting <= 7
        assert waiting == 8 - shipper.state.confirmed
        taken = 0
        deadline = time.monotonic() + 30
        with channel_of(broker) as channel:
            while taken < 8 and time.monotonic() < deadline:
                method, _, _ = channel.basic_get(broker.queue, auto_ack=True)
                taken += method is not None
                time.sleep(0.02)
        assert taken == 8
        wait_until(lambda: shipper.state.trouble is None)


def test_a_file_that_cannot_be_read_keeps_no_other(
    folder: SpoolFolder, broker: Broker, ship: MakeShipper, put: Put
) -> None:
    (folder.path / "0000000000000-odd.ready").mkdir()
    large = folder.path / "0000000000001-large.ready"
    with large.open("wb") as stream:
        stream.truncate(17 * 1024 * 1024)
    path = put(a_segment([a_click(1)]))

    ship(broker)

    wait_until(lambda: not path.exists())
    assert not large.exists()
    assert "larger" in (folder.path / "rejected" / "0000000000001-large.reason").read_text()


def test_a_stop_ships_what_is_left(folder: SpoolFolder, broker: Broker, put: Put) -> None:
    shipper = Shipper(folder, broker)
    shipper.start()
    wait_until(lambda: shipper.state.up)
    for _ in range(100):
        put(a_segment([a_click(1)]))

    shipper.stop(10)

    assert folder.ready_segments() == []
    assert shipper.state.confirmed == 100


def test_a_stop_without_a_broker_is_quick_and_keeps_the_files(
    folder: SpoolFolder, put: Put
) -> None:
    path = put(a_segment([a_click(1)]))
    shipper = Shipper(folder, Broker("amqp://127.0.0.1:1/", "none", 1_000_000, 5.0))
    shipper.start()
    wait_until(lambda: shipper.state.trouble is not None)
    started = time.monotonic()

    shipper.stop(10)

    assert time.monotonic() - started < 3
    assert path.exists()
    assert "ConnectionRefusedError" in str(shipper.state.trouble)


def test_a_hanging_broker_holds_up_a_stop_for_a_bounded_time(
    folder: SpoolFolder, far_broker: Broker, relay: Relay, put: Put
) -> None:
    shipper = Shipper(folder, far_broker)
    shipper.start()
    wait_until(lambda: shipper.state.up)
    relay.hang()
    path = put(a_segment([a_click(1)]))
    started = time.monotonic()

    shipper.stop(1)

    assert time.monotonic() - started < 4
    assert path.exists()
