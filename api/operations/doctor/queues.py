"""The queues of the broker: whether they are as they should be, and who takes from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from api.clicks.queue.broker import FAILURES, Broker, close_quietly, open_connection, why, within
from api.core.redis_clients import make_redis
from api.jobs.names import redis_key
from api.operations.doctor.finding import Finding, ok, warning, wrong
from api.operations.doctor.reasons import NotThere, advise
from api.operations.doctor.subject import ASK_SECONDS, Subject
from config.settings import Settings
from config.tls import amqp_parameters

_NOT_FOUND, _PRECONDITION_FAILED = 404, 406
_LEAST_VERSION = (3, 10)
_NEAR = ("localhost", "127.0.0.1", "::1")
# Jobs expire within the hour, and are offered again.
_MANY_JOBS = 1_000


def look(subject: Subject) -> Iterator[Finding]:
    """The broker at AMQP_URL, where there is one; else the jobs that wait in Redis."""
    settings = subject.settings
    if settings.amqp_url is None:
        if "AMQP_URL" not in subject.faults:
            yield ok("broker", "none: consumers read the spool of this host")
            yield from _jobs_in_redis(subject)
        return
    broker = Broker.of(settings, settings.amqp_url)
    try:
        connection = _connect(settings.amqp_url)
    except FAILURES as error:
        reason = why(error)
        yield wrong("broker", reason, advise(reason, "AMQP_URL"))
        return
    try:
        with within(connection, ASK_SECONDS):
            yield _broker(connection, settings.amqp_url)
            yield from _clicks(connection, broker)
            yield from _dead_letters(connection, broker)
            if settings.fetch_titles:
                yield from _jobs(connection, settings)
    except FAILURES as error:
        advice = "It takes connections and answers nothing: is it starting, or short of memory?"
        yield wrong("broker", why(error), advice)
    finally:
        close_quietly(connection)


def _connect(url: str) -> BlockingConnection:
    """As ours do, but nothing is declared."""
    parameters = amqp_parameters(url)
    parameters.socket_timeout = parameters.stack_timeout = ASK_SECONDS
    parameters.blocked_connection_timeout = ASK_SECONDS
    return open_connection(parameters)


def _broker(connection: BlockingConnection, url: str) -> Finding:
    told: dict[str, Any] = connection._impl.server_properties or {}
    host = amqp_parameters(url).host
    version = str(told.get("version", "unknown"))
    secure = url.startswith("amqps:")
    found = f"{told.get('product', 'a broker')} {version} at {host}{', TLS' if secure else ''}"
    numbers = [int(part) for part in version.split(".")[:2] if part.isdecimal()]
    if told.get("product") == "RabbitMQ" and tuple(numbers) < _LEAST_VERSION:
        return wrong("broker", found, "Upgrade it: 3.10 or newer is needed.")
    if not secure and host not in _NEAR:
        return warning("broker", f"{found}; not encrypted", "Use amqps:// with cacertfile.")
    return ok("broker", found)


def _clicks(connection: BlockingConnection, broker: Broker) -> Iterator[Finding]:
    check = f"queue {broker.queue}"
    state = _state(connection, broker.queue)
    if state is None:
        advice = "Whichever starts first makes it, a web server or a consumer."
        yield warning(check, "not there yet", advice, "scripts/consume-clicks")
        return
    waiting, consumers = state
    found = f"{waiting} segments wait, {consumers} consumers"
    if complaint := _differs(connection, broker.queue, broker.arguments()[broker.queue]):
        advice = "It works, with bounds of its own; delete it while it is empty to have ours."
        yield warning(check, f"{found}; {complaint}", advice)
    elif consumers == 0 and waiting:
        advice = "Start a consumer, or these clicks are never counted."
        yield wrong(check, found, advice, "scripts/consume-clicks")
    elif consumers == 0:
        yield warning(check, found, "Start a consumer.", "scripts/consume-clicks")
    else:
        yield ok(check, found)


def _dead_letters(connection: BlockingConnection, broker: Broker) -> Iterator[Finding]:
    state = _state(connection, broker.dead_queue)
    if state is None:
        return  # as above
    waiting, _ = state
    if waiting:
        advice = "Look why they could not be counted, then replay or drop them."
        found = f"{waiting} segments that could not be counted"
        yield warning("dead letters", found, advice, "scripts/dead-letters list")
    else:
        yield ok("dead letters", "none")


def _jobs(connection: BlockingConnection, settings: Settings) -> Iterator[Finding]:
    check = f"queue {settings.jobs_queue}"
    state = _state(connection, settings.jobs_queue)
    if state is None or state[1] == 0:
        found = "not there yet" if state is None else f"{state[0]} jobs wait, no worker"
        yield warning(check, found, "Start a worker: FETCH_TITLES is set.", "scripts/run-jobs")
    else:
        yield ok(check, f"{state[0]} jobs wait, {state[1]} workers")


def _jobs_in_redis(subject: Subject) -> Iterator[Finding]:
    settings = subject.settings
    if not settings.fetch_titles:
        return
    try:
        url = subject.connected.redis_url
    except Exception as error:
        raise NotThere(str(error)) from error
    if url is None:
        yield wrong("jobs", "FETCH_TITLES is set, and there is no broker", "Set REDIS_URL.")
        return
    waiting = int(make_redis(url, ASK_SECONDS, retries=0).llen(redis_key(settings.jobs_queue)))
    if waiting > _MANY_JOBS:
        advice = "Start a worker, or more of them."
        yield warning("jobs", f"{waiting} wait", advice, "scripts/run-jobs")
    else:
        yield ok("jobs", f"{waiting} wait")


def _state(connection: BlockingConnection, name: str) -> tuple[int, int] | None:
    """How many messages wait, and how many take them; None where there is no such queue."""
    channel = connection.channel()
    try:
        told = channel.queue_declare(name, passive=True).method
        channel.close()
    except ChannelClosedByBroker as error:
        if error.reply_code == _NOT_FOUND:
            return None
        raise
    return told.message_count, told.consumer_count


def _differs(connection: BlockingConnection, name: str, arguments: dict[str, object]) -> str:
    """What the broker says against our arguments. Of a queue that is there to declare it changes
    nothing: it is how AMQP 0-9-1 has them compared."""
    channel = connection.channel()
    try:
        channel.queue_declare(name, durable=True, arguments=arguments)
        channel.close()
    except ChannelClosedByBroker as error:
        if error.reply_code == _PRECONDITION_FAILED:
            return str(error.reply_text).partition(" - ")[2] or str(error.reply_text)
        return ""  # an account that may not declare
    return ""
