"""Each key that the application keeps in Redis is documented, has a life and a bounded size."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
import redis
from celery import Celery
from flask import Flask

from api.app import create_app
from api.core.database.positions import Positions
from api.core.embedded.valkey import EmbeddedValkey
from api.core.safe_url import MAX_URL_LENGTH
from api.core.slugs import MAX_LENGTH
from api.identity.service import IdentityService
from api.jobs.application import MAX_WAITING, make_celery
from api.operations.status.serving import make_minutes
from config.settings import Settings
from tests.caller import Caller
from tests.redirects.visitor import Visitor
from tests.redis_keys import check_keys, documented
from tests.running import wait_until
from tests.services.network import free_ports

# As many hours as one answer may tell of.
LONGEST = "interval=hour&from=2026-01-01&to=2026-04-01"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A Redis in which nobody else has keys."""
    valkey = EmbeddedValkey(tmp_path_factory.mktemp("redis") / "valkey", port=free_ports(1)[0])
    valkey.start()
    wait_until(valkey.ready)
    with redis.Redis.from_url(valkey.url) as client:
        yield client
    valkey.stop()


@pytest.fixture(scope="module")
def environ_here(environ: dict[str, str], server: redis.Redis) -> dict[str, str]:
    port = server.connection_pool.connection_kwargs["port"]
    return environ | {
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "FETCH_TITLES": "true",
        "PLANS": '{"days": {"reads_per_minute": 1000, "api_calls_per_day": 1000}}',
        "DEFAULT_PLAN": "days",
        "MISSES_PER_MINUTE": "3",
        "SIGN_IN_TRIES_PER_MINUTE": "3",
    }


@pytest.fixture(scope="module")
def app(environ_here: dict[str, str]) -> Iterator[Flask]:
    application = create_app(Settings.load(environ_here))
    application.extensions["signpost"].start_worker()
    yield application
    application.extensions["signpost"].stop_worker()


def use_links(caller: Caller, visitor: Visitor, server: redis.Redis) -> None:
    """The longest there may be, and some that are changed, protected and looked for in vain."""
    slug = uuid.uuid4().hex.ljust(MAX_LENGTH, "x")
    longest = "https://example.com/" + "x" * (MAX_URL_LENGTH - 20)
    link = caller.create_link(longest, slug=slug)
    for name in server.scan_iter("signpost:copies:*link:*"):
        server.delete(name)  # what told that it had just been made
    assert visitor.follow(link).status_code == 302
    changed = caller.create_link()
    caller.patch(f"/links/{changed['id']}", {"url": "https://example.com/1"})
    protected = caller.create_link(password="open sesame")
    for number in range(8):
        visitor.unlock(protected, "wrong")
        visitor.open(f"/nothing-{number}")


def use_statistics(caller: Caller) -> None:
    """The longest answers there may be."""
    for query in (LONGEST, f"{LONGEST}&group_by=referrer&limit=500"):
        assert caller.get(f"/stats?{query}").status_code == 200
    evicted = caller.create_link()
    assert caller.delete(f"/links/{evicted['id']}/clicks").status_code == 204


def use_people(app: Flask) -> None:
    """Somebody who guesses a password, and asks for tokens."""
    client = app.test_client()
    for _ in range(5):
        client.post("/oauth/sign-in", data={"email": "nobody@example.com", "password": "wrong"})
        client.post("/oauth/token", data={"grant_type": "client_credentials"})


def send_jobs(settings: Settings) -> Celery:
    """Jobs that wait."""
    celery = make_celery(settings)
    assert celery is not None
    for number in range(50):
        celery.send_task("titles.fetch", args=(str(number),), expires=3_600)
    return celery


def use_jobs(settings: Settings) -> None:
    """Jobs that wait, and one that a worker has taken with it."""
    celery = send_jobs(settings)
    with celery.connection_for_read() as connection:
        channel = connection.default_channel
        assert celery.amqp.queues[settings.jobs_queue](channel).get() is not None
        channel.qos.restore_at_shutdown = False  # as of a worker that is killed
        with channel.conn_or_acquire() as client:
            lock = client.lock(channel.unacked_mutex_key, timeout=channel.unacked_mutex_expire)
            assert lock.acquire(blocking=False)


def use_replicas(settings: Settings) -> None:
    """What readers of replicas ask, as if a workspace had written."""
    positions = Positions(settings.redis_url, 1)
    positions.note("main:1", 1 << 40)
    positions.find("main:1")


def use_status(settings: Settings) -> None:
    """As many numbers of a minute as there may be."""
    _, shared = make_minutes(settings)
    assert shared is not None
    shared.add(int(time.time() // 60), {f"up.{'x' * 32}-{number}": 1.5 for number in range(500)})


def test_each_key_is_documented_has_a_life_and_a_bounded_size(
    app: Flask, environ_here: dict[str, str], identity: IdentityService, server: redis.Redis
) -> None:
    settings = Settings.load(environ_here)
    caller = Caller.of_new_workspace(app, identity)
    use_links(caller, Visitor(app), server)
    use_statistics(caller)
    use_people(app)
    use_jobs(settings)
    use_replicas(settings)
    use_status(settings)

    rows = documented("one")
    found = check_keys(server, rows)

    # A row for which nothing is found is not true any more.
    assert found == {row.pattern for row in rows}


def test_key_that_nobody_knows_or_that_has_no_life_is_found(server: redis.Redis) -> None:
    rows = documented("one")
    for name, life, complaint in (
        ("signpost:something:1", 60, "not in docs"),
        ("signpost:copies:v1:link:sign.test/x", None, "no life"),
        ("signpost:copies:v1:link:sign.test/x", 10**6, "1000000 s"),
    ):
        server.set(name, "x", ex=life)
        with pytest.raises(AssertionError, match=complaint):
            check_keys(server, rows)
        server.delete(name)


def test_what_waits_in_one_list_is_bounded(
    environ_here: dict[str, str], server: redis.Redis
) -> None:
    send_jobs(Settings.load(environ_here))
    (row,) = [row for row in documented("one") if row.kind == "list"]
    name = "signpost:jobs:signpost.jobs"
    each = server.memory_usage(name, samples=0) / server.llen(name)  # type: ignore[operator]
    assert each * MAX_WAITING < row.size_bytes
