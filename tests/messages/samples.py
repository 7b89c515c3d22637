"""What processes write for one another, as this code writes it.

Samples of each version are kept in tests/data/messages: `NAME-vN`. A release reads all of them that
docs/contracts.md says it reads. `python -m tests.messages` (with TEST_AMQP_URL) writes those of a
version that has none yet, and never over one that is there.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pika

from api.clicks.enriched import EnrichedClick
from api.clicks.queue.broker import SCHEMA, Broker
from api.core import copies, evictions, outbox
from api.core.copies import SharedCopies
from api.jobs.queue import JobQueue
from api.live.messages import CHANNELS, write_message
from api.redirects import shared
from api.redirects.cache import Target
from api.targets.rules import Block
from api.transfers.imports.packing import pack, unpack
from api.transfers.imports.parsing import Ndjson
from api.transfers.imports.receiving import Chunk, Receiver, first_digest
from config.settings import Settings
from tests.running import wait_until

FOLDER = Path(__file__).parents[1] / "data" / "messages"
SEGMENT = "1764000060000-fedcba9876543210"
SECRET = b"a secret of the samples"
KEY = "link:go.example.com/spring"
EPOCH = b"0a1b2c3d4e5f60718293a4b5c6d7e8f901234567.0011223344556677.1764000000000"
LINK = 41582915018752001
ROW = {
    "url": "https://example.com/",
    "slug": "spring",
    "tags": ["red"],
    "expires_at": "2090-01-02T03:04:05Z",
    "created_at": "2020-01-02T03:04:05Z",
    "clicks": 12,
}
KEYS = ["link:go.example.com/spring", "domain:go.example.com", "key:0123"]
TARGET = Target(
    slot=17,
    id=LINK,
    workspace_id=7,
    url="https://example.com/\u00e4?b=1",
    starts_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    expires_at=None,
    limited=True,
    password_hash=None,
    redirect_status=307,
    forward_query=True,
    enabled=True,
    deleted=False,
    block=Block(451, None),
)
CLICK = EnrichedClick(
    slot=17,
    link_id=LINK,
    at_ms=1764000060001,
    id=LINK + 1,
    workspace_id=7,
    visitor=77,
    bot=False,
    country="DE",
    referrer="news.example",
    browser="Firefox",
    system="Linux",
    device="",
    language="de",
    utm_source="mail",
    utm_medium="",
    utm_campaign="",
    utm_term="",
    utm_content="",
    address="8.8.8.0",
)


class Sample(NamedTuple):
    """One form that is written, in its present version."""

    name: str
    version: int
    write: Callable[[], bytes]

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}-v{self.version}"


def sealed_copy() -> bytes:
    """A copy of a link with its epoch, a nonce, the end of its life and the signature."""
    ours = SharedCopies("redis://127.0.0.1:1/0", 0.1, SECRET)
    return ours._seal(KEY, EPOCH, shared._pack(TARGET), 60.0)


def properties_of_segment() -> bytes:
    """How the message of a segment is labelled."""
    seen: list[pika.BasicProperties] = []

    class Channel:
        def basic_publish(self, exchange: str, key: str, body: bytes, *rest: Any, **_: Any) -> None:
            seen.append(rest[0])

    Broker("amqp://127.0.0.1:1/", "queue", 1, 1.0).publish(Channel(), SEGMENT, b"")  # type: ignore[arg-type]
    return as_json(facts_of(seen[0]))


def job(ask: Callable[[JobQueue], None]) -> bytes:
    """The message by which a job is asked for, from a real broker."""
    url, queue = os.environ["TEST_AMQP_URL"], f"test.jobs.{uuid.uuid4().hex[:12]}"
    jobs = JobQueue.of(Settings.load({"AMQP_URL": url, "JOBS_QUEUE": queue}))
    assert jobs is not None
    jobs.start()
    ask(jobs)
    jobs.stop()  # when it is sent
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        found: list[Any] = []

        def arrived() -> bool:
            found[:] = channel.basic_get(queue, auto_ack=True)
            return found[0] is not None

        wait_until(arrived, 10)
        channel.queue_delete(queue)
        channel.exchange_delete(queue)
    _, properties, body = found
    told = facts_of(properties) | {"body": json.loads(body)}
    del told["headers"]["x-delivery-count"]  # the broker's own
    return as_json(told)


def rows_of_import() -> bytes:
    """What is kept of the rows of an import for the worker: one that can be loaded, one that
    cannot."""
    kept: list[Chunk] = []

    class Keeper:
        def keep(self, chunk: Chunk) -> None:
            kept.append(chunk)

    rows = Ndjson(json.dumps(row).encode() for row in (ROW, {"url": 1}))
    receiver = Receiver(rows, Keeper(), first_digest(None), dry_run=False)
    receiver.receive(receiver.skip(0))
    return as_json(unpack(pack(kept[0].rows)))


def facts_of(properties: pika.BasicProperties) -> dict[str, Any]:
    """What a message says of itself."""
    return {name: value for name, value in vars(properties).items() if value is not None}


def as_json(facts: Any) -> bytes:
    return (json.dumps(facts, indent=2, sort_keys=True) + "\n").encode()


def _version(name: str) -> int:
    """The number in `signpost:…:v1`."""
    return int(next(part[1:] for part in name.split(":") if part[:1] == "v" and part[1:].isdigit()))


SAMPLES = (
    Sample("segment-properties", SCHEMA, properties_of_segment),
    Sample("link-fields", shared._VERSION, lambda: shared._pack(TARGET)),
    Sample("link-missing", shared._VERSION, lambda: shared._pack(None)),
    Sample("copy", _version(copies.PREFIX), sealed_copy),
    Sample("eviction", _version(evictions.CHANNEL), lambda: eviction(KEYS)),
    Sample("live", _version(CHANNELS), lambda: write_message([CLICK])),
    Sample("job", 1, lambda: job(lambda jobs: jobs.fetch_titles([LINK]))),
    Sample("rows-of-import", 1, rows_of_import),
    Sample("job-of-import", 1, lambda: job(lambda jobs: jobs.load_import(LINK))),
)


def eviction(keys: list[str]) -> bytes:
    """The message that tells of changed entries, as the outbox sends it."""
    with mock.patch.object(outbox, "evict_copies") as sent:
        sender = outbox.Outbox("redis://127.0.0.1:1/0", 0.1, evictions.CHANNEL)
        sender.send(keys)
    message: bytes = sent.call_args.args[3]
    return message
