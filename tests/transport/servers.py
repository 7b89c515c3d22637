"""What each of our clients of a server does with a URL: whether the server answers it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from flask import Flask
from redis.exceptions import RedisError
from sqlalchemy import text

from api.clicks.queue.broker import Broker, close_quietly
from api.core.breaker import redis_dependency
from api.core.cache import AnswerCache
from api.core.copies import SharedCopies
from api.core.database.migrate import pending
from api.core.database.routing import Database
from api.core.decisions import LimitDecisions
from api.core.evictions import Evictions
from api.core.limits import AddressLimits, Rule, TooManyTries
from api.jobs.application import make_celery
from api.limits.limiter import PlanLimiter
from api.live.publisher import LivePublisher
from api.operations.health import HealthService
from api.operations.status.shared import SharedMinutes
from config.settings import Settings

_SECONDS = 2.0
_SPEAKS_TLS = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


def sessions(url: str) -> bool:
    """The engine, and so everything that goes through sessions."""
    db = Database(Settings.load({"DATABASE_URL": url}))
    try:
        with db.read_directory() as session:
            return bool(session.execute(_SPEAKS_TLS).scalar_one())
    finally:
        db.dispose()


def single_statements(url: str) -> bool:
    """The connections of statements that are transactions of their own."""
    from api.core.database.servers import Server

    settings = Settings.load({"DATABASE_URL": url})
    connections = Server("tls", cast(str, settings.database_url), settings).connections
    held = connections.take()
    with held.driver.cursor() as cursor:
        cursor.execute(str(_SPEAKS_TLS))
        (speaks,) = cursor.fetchone()
    connections.give(held, usable=False)
    return bool(speaks)


def migrations(url: str) -> bool:
    """Alembic's connection."""
    return bool(pending(Settings.load({"DATABASE_URL": url})))


def evictions(url: str) -> bool:
    """Both of its clients: it hears of itself."""
    heard, synced = threading.Event(), threading.Event()
    made = Evictions(url, 0.5)
    made.on_sync(lambda arrives: synced.set() if arrives else None)
    made.start()
    try:
        if not synced.wait(_SECONDS):
            return False
        made.on_evict(lambda keys: heard.set())
        Evictions(url, 0.5).publish(["link:sign.test/x"])
        return heard.wait(_SECONDS)
    finally:
        made.stop()


def copies(url: str) -> bool:
    """Links that processes share."""
    return SharedCopies(url, 0.5, b"a secret of the tests").look("sign.test/x") is not None


def limits(url: str) -> bool:
    """Two processes share a count."""
    who = uuid.uuid4().hex
    first, second = (AddressLimits(url, 0.5, {"try": Rule(1)}) for _ in range(2))
    first.hit("try", who)
    try:
        second.hit("try", who)
    except TooManyTries:
        return True
    return False


def plans(url: str) -> bool:
    """What the plans of workspaces allow is counted there."""
    counter: Any = PlanLimiter(cast(Any, None), url, 0.5, LimitDecisions())
    return bool(counter._limiter.storage.check())


def answers(url: str) -> bool:
    """Two processes share an answer."""
    group = uuid.uuid4().hex
    first, second = (AnswerCache(Flask("cache"), url, 0.5, local_entries=8) for _ in range(2))
    first.answer(group, "key", 60, lambda: b"first")
    return second.answer(group, "key", 60, lambda: b"second").body == b"first"


def live(url: str) -> bool:
    """Who tells of clicks finds out whether somebody listens."""
    LivePublisher(url).publish([])
    found = redis_dependency(url).state()
    return found is not None and found.up


def status(url: str) -> bool:
    """What hosts tell of a minute adds up."""
    minutes = SharedMinutes(url, 0.5)
    try:
        minutes.add(0, {"samples": 1})
    except RedisError:
        return False
    return minutes.read([0]) != [None]


def health(url: str) -> bool:
    """Readiness tells of Redis."""
    nowhere = "postgresql+psycopg2://nobody@127.0.0.1:1/none"
    settings = replace(Settings(), database_url=nowhere, redis_url=url)
    _, state = HealthService(settings, Database(settings)).ready()
    return bool(state["checks"]["redis"]["status"] == "up")


def jobs(url: str) -> bool:
    """Celery, which reads URLs in a way of its own."""
    kind = "amqp_url" if url.startswith("amqp") else "redis_url"
    celery = make_celery(Settings.load({kind.upper(): url}))
    assert celery is not None
    with celery.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
        return connection.default_channel is not None


def broker(url: str) -> bool:
    """Shipper, consumer and dead letters connect so."""
    settings = replace(Settings(), amqp_queue=f"tls-{uuid.uuid4().hex[:8]}")
    connection = Broker.of(settings, url).connect(10)
    close_quietly(connection)
    return True


DATABASE_CLIENTS: list[Callable[[str], bool]] = [sessions, single_statements, migrations]
REDIS_CLIENTS: list[Callable[[str], bool]] = [
    *(evictions, copies, limits, plans, answers, live, status, health, jobs)
]
