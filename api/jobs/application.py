"""The Celery application: RabbitMQ where there is one, else Redis."""

from __future__ import annotations

import ast
import ssl
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from celery import Celery
from kombu.entity import Exchange, Queue

from api.jobs.names import KEY_PREFIX, MAX_WAITING
from api.jobs.transport import use_for_redis
from config.redis_urls import is_cluster
from config.settings import Settings, SettingsError
from config.tls import amqp_parameters

# A worker that is gone leaves its jobs to others after this; longer than any job takes.
_VISIBILITY_SECONDS = 600
_AMQP_NAMES = {
    "cacertfile": "ca_certs",
    "certfile": "certfile",
    "keyfile": "keyfile",
    "server_name_indication": "server_hostname",
}


def make_celery(settings: Settings) -> Celery | None:
    """The application; it connects to nothing by itself. None where no setting names a broker.

    Raises:
        SettingsError: the only one is a Redis Cluster, in which Celery can keep no queue.
    """
    if settings.amqp_url is None and is_cluster(settings.redis_url):
        raise SettingsError("REDIS_URL: Jobs cannot wait in a Redis Cluster: set AMQP_URL, too.")
    broker = settings.amqp_url or settings.redis_url
    if broker is None:
        return None
    seconds = settings.redis_timeout_seconds if settings.amqp_url is None else None
    celery = Celery("signpost", set_as_current=False, fixups=[])
    celery.conf.update(
        _transport(settings),
        broker_connection_timeout=seconds or settings.amqp_timeout_seconds,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_default_queue=settings.jobs_queue,
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        # Taken only when it is done: one that a worker took with it is given to another.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_consumer="api.jobs.consumer:JobConsumer",
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
    )
    return celery


def _transport(settings: Settings) -> dict[str, Any]:
    if settings.amqp_url is None:
        assert settings.redis_url is not None  # noqa: S101 - make_celery looked
        use_for_redis()
        seconds = settings.redis_timeout_seconds
        return {
            "broker_url": _redis_url(settings.redis_url),
            "broker_transport_options": {
                "global_keyprefix": KEY_PREFIX,
                "visibility_timeout": _VISIBILITY_SECONDS,
                "socket_connect_timeout": max(seconds, 1.0),
                "socket_keepalive": True,
            },
            "task_queues": [Queue(settings.jobs_queue)],  # type: ignore[no-untyped-call]
        }
    seconds = settings.amqp_timeout_seconds
    arguments = {
        "x-queue-type": "quorum",
        "x-max-length": MAX_WAITING,
        "x-overflow": "reject-publish",
    }
    name = settings.jobs_queue
    exchange = Exchange(name, type="direct", durable=True)  # type: ignore[no-untyped-call]
    jobs = Queue(name, exchange, name, queue_arguments=arguments)  # type: ignore[no-untyped-call]
    return {
        "broker_url": _amqp_url(settings.amqp_url),
        "broker_use_ssl": _amqp_tls(settings.amqp_url),
        "broker_heartbeat": 60,
        "broker_transport_options": {
            "confirm_publish": True,
            "read_timeout": seconds,
            "write_timeout": seconds,
        },
        "task_queues": [jobs],
    }


def _redis_url(url: str) -> str:
    """As kombu spells it: it has a scheme of its own for sockets of the file system."""
    parts = urlsplit(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parse_qs(parts.query):
        # Where nothing is said of TLS, kombu takes any server for ours.
        query = "&".join(filter(None, (parts.query, "ssl_cert_reqs=required")))
        return parts._replace(query=query).geturl()
    if parts.scheme != "unix":
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    return f"redis+socket://{parts.path}?virtual_host={database}"


def _amqp_url(url: str) -> str:
    """The address alone: what the query says of TLS is told apart."""
    parameters = amqp_parameters(url)
    credentials: Any = parameters.credentials
    user, password = quote(credentials.username, safe=""), quote(credentials.password, safe="")
    host = f"[{parameters.host}]" if ":" in parameters.host else parameters.host
    virtual_host = quote(parameters.virtual_host, safe="")
    return f"amqp://{user}:{password}@{host}:{parameters.port}/{virtual_host}"


def _amqp_tls(url: str) -> dict[str, Any] | None:
    """What py-amqp takes for what the URL says of TLS, by either of its vocabularies."""
    parts = urlsplit(url)
    if parts.scheme != "amqps":
        return None
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    asked = {ours: query[theirs] for theirs, ours in _AMQP_NAMES.items() if theirs in query}
    # pika's own, which was read as such when the process began.
    asked |= {
        name: value
        for name, value in ast.literal_eval(query.get("ssl_options", "{}")).items()
        if name in _AMQP_NAMES.values()
    }
    return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": parts.hostname} | asked
