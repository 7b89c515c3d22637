"""Redis, RabbitMQ, and the jobs that wait in them."""

from __future__ import annotations

from dataclasses import dataclass

from config import kinds
from config.declaring import flag, integer, seconds, setting


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """Redis, RabbitMQ, and the jobs that wait in them."""

    redis_url: str | None = setting(
        None,
        kinds.redis_url,
        "Redis or Valkey URL; with TLS `rediss://host:port/0?ssl_ca_certs=ca.pem`; a cluster by "
        "some of its nodes, `redis+cluster://a:7000,b:7001,c:7002`, see docs/redis.md; default: "
        "the embedded server.",
    )
    redis_tls_verify: bool = flag(
        True,
        "Whether a Redis at `rediss://` must show a certificate of a known authority; `false` for "
        "providers whose servers sign their own, such as Heroku's: what is sent is then encrypted, "
        "and anybody between could be the one who reads it.",
    )
    redis_timeout_seconds: float = seconds(0.5, "Longest wait for one Redis command.")
    amqp_url: str | None = setting(
        None,
        kinds.amqp_url,
        "RabbitMQ URL: clicks go through its queue to consumers anywhere; with TLS "
        "`amqps://host/vhost?cacertfile=ca.pem`; default: the consumer of this host reads the "
        "spool.",
    )
    amqp_queue: str = setting(
        "signpost.clicks",
        kinds.matching(r"[A-Za-z0-9._-]{1,100}"),
        "Name of the queue of the clicks, and the beginning of what belongs to it.",
    )
    amqp_prefetch: int = integer(
        100, "Segments, of at most 1 MB, that a consumer holds in memory.", 1, 10_000
    )
    amqp_max_queue_bytes: int = integer(
        1 << 32, "Size at which the queue refuses clicks, which then wait in the spool.", 1_000_000
    )
    amqp_timeout_seconds: float = seconds(
        10.0, "Longest wait for the broker to connect or to confirm; also to ship at the stop."
    )
    jobs_queue: str = setting(
        "signpost.jobs",
        kinds.matching(r"[A-Za-z0-9._-]{1,100}"),
        "Name of the queue of jobs, in RabbitMQ or in Redis.",
    )
    job_threads: int = integer(4, "Jobs that one worker does at the same time.", 1, 100)
