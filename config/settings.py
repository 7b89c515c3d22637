"""Every setting: its name, type, default and meaning; read once from the environment, validated.

A setting's environment variable is its field name in upper case. An unknown value stops the start
with one line that names the variable.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from config import kinds
from config.plans import Plan, by_name, read_plans
from config.private_files import make_once
from config.redis_urls import is_cluster

SERVICES = ("redirect", "api")
_LONGEST_SOCKET_PATH = 100


class SettingsError(Exception):
    """A setting has a value that cannot be used; the message names it in one line."""


def _setting(default: Any, kind: kinds.Kind, meaning: str) -> Any:
    return field(default=default, metadata={"kind": kind, "meaning": meaning})


def _integer(default: int, meaning: str, low: int = 0, high: int | None = None) -> Any:
    return _setting(default, kinds.integer(low, high), meaning)


def _seconds(default: float, meaning: str) -> Any:
    return _setting(default, kinds.seconds(), meaning)


def _flag(default: bool, meaning: str) -> Any:
    return _setting(default, kinds.flag, meaning)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one process."""

    port: int = _integer(8000, "TCP port that the web server listens on.", 1, 65535)
    host: str = _setting("127.0.0.1", kinds.text(), "Address that the web server listens on.")
    web_concurrency: int = _integer(
        os.cpu_count() or 1, "Number of web worker processes; default: one per core.", 1, 512
    )
    base_url: str | None = _setting(
        None,
        kinds.base_url,
        "Public address of the default domain, `https://host`; default: `http://HOST:PORT`.",
    )
    tls_certificate: Path | None = _setting(
        None,
        kinds.file,
        "PEM file of the web server's own certificate, and those between it and its authority: it "
        "then speaks https alone, without the fast path. Default: a proxy does.",
    )
    tls_key: Path | None = _setting(
        None, kinds.file, "PEM file of its private key; default: in `TLS_CERTIFICATE`, too."
    )
    signpost_home: Path = _setting(
        Path("var"),
        kinds.text(1),
        "Folder of the embedded servers, the click spool and the generated secrets.",
    )
    signpost_services: tuple[str, ...] = _setting(
        SERVICES,
        kinds.comma_list,
        "Services this process offers: `all`, or a list of `redirect` and `api`.",
    )
    database_url: str | None = _setting(
        None,
        kinds.database_url,
        "PostgreSQL URL of the directory and the first shard, with `?sslmode=verify-full&"
        "sslrootcert=ca.pem` where others could listen; default: the embedded server.",
    )
    migration_database_url: str | None = _setting(
        None,
        kinds.database_url,
        "The same database without a pooler between, such as PgBouncer, for `scripts/migrate`, "
        "which holds a lock for longer than a transaction; default: `DATABASE_URL`.",
    )
    migration_shard_urls: tuple[tuple[str, str], ...] = _setting(
        (),
        kinds.named_database_urls,
        "`name=url,…`: the same for further shards; default: as `SHARD_URLS` or the directory has "
        "them.",
    )
    database_replica_urls: tuple[str, ...] = _setting(
        (),
        kinds.database_urls,
        "URLs of servers that replicate `DATABASE_URL` by streaming, separated by commas: they "
        "take the reads that they are fresh enough for.",
    )
    shard_urls: tuple[tuple[str, str], ...] = _setting(
        (),
        kinds.named_database_urls,
        "`name=url,…`: addresses of further shards, for those whose address the directory does "
        "not have or has otherwise; see docs/shards.md.",
    )
    shard_replica_urls: tuple[tuple[str, str], ...] = _setting(
        (),
        kinds.named_database_urls,
        "`name=url,…`: servers that replicate shards; a name may come several times.",
    )
    db_max_replica_lag_seconds: float = _setting(
        5.0,
        kinds.seconds(low=2, high=10),
        "How far a replica may be behind before it is left out, from 2 to 10; what somebody wrote "
        "they see at once in any case.",
    )
    redis_url: str | None = _setting(
        None,
        kinds.redis_url,
        "Redis or Valkey URL; with TLS `rediss://host:port/0?ssl_ca_certs=ca.pem`; a cluster by "
        "some of its nodes, `redis+cluster://a:7000,b:7001,c:7002`, see docs/redis.md; default: "
        "the embedded server.",
    )
    amqp_url: str | None = _setting(
        None,
        kinds.amqp_url,
        "RabbitMQ URL: clicks go through its queue to consumers anywhere; with TLS "
        "`amqps://host/vhost?cacertfile=ca.pem`; default: the consumer of this host reads the "
        "spool.",
    )
    amqp_queue: str = _setting(
        "signpost.clicks",
        kinds.matching(r"[A-Za-z0-9._-]{1,100}"),
        "Name of the queue of the clicks, and the beginning of what belongs to it.",
    )
    amqp_prefetch: int = _integer(
        100, "Segments, of at most 1 MB, that a consumer holds in memory.", 1, 10_000
    )
    amqp_max_queue_bytes: int = _integer(
        1 << 32, "Size at which the queue refuses clicks, which then wait in the spool.", 1_000_000
    )
    amqp_timeout_seconds: float = _seconds(
        10.0, "Longest wait for the broker to connect or to confirm; also to ship at the stop."
    )
    secret_key: str | None = _setting(
        None,
        kinds.text(16),
        "Signs cursors and keys the visitor hash, at least 16 characters, the same in every "
        "process; default: made once and kept in `SIGNPOST_HOME/secret.key`.",
    )
    jwt_private_key: str | None = _setting(
        None,
        kinds.signing_keys,
        "Private key that signs access tokens: PEM (Ed25519 or RSA), or a JWK set, the same in "
        "every process; default: keys made once and kept in `SIGNPOST_HOME/jwt-keys.json`.",
    )
    jwt_algorithm: str = _setting(
        "EdDSA",
        kinds.one_of("EdDSA", "RS256"),
        "What new access tokens are signed with; keys of both are published.",
    )
    oidc_issuer: str | None = _setting(
        None,
        kinds.issuer,
        "Issuer of OpenID Connect whose tokens are accepted, too, as `https://accounts.example.com`"
        ": for users whose verified address it knows.",
    )
    oidc_audience: str | None = _setting(
        None,
        kinds.text(1),
        "The audience that such tokens must be for; needed with `OIDC_ISSUER`.",
    )
    log_level: str = _setting(
        "INFO",
        kinds.one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
        "Least severe log level that is written.",
    )
    log_format: str = _setting(
        "auto",
        kinds.one_of("auto", "json", "console"),
        "`json`: one object a line; `console`: for people; `auto`: console on a terminal.",
    )
    metrics_token: str | None = _setting(
        None,
        kinds.text(16),
        "What Prometheus sends as `Authorization: Bearer`, at least 16 characters; it also shows "
        "what `/health/ready` keeps from others; default: `/metrics` is not served.",
    )
    trusted_proxies: tuple[kinds.Network, ...] = _setting(
        (),
        kinds.networks,
        "Addresses or CIDR blocks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` "
        "count.",
    )
    hsts_seconds: int = _integer(
        31_536_000,
        "How long browsers that came over https shall use nothing else for this host "
        "(`Strict-Transport-Security`); 0: it is not sent.",
        0,
        63_072_000,
    )
    hsts_include_subdomains: bool = _flag(
        False, "The same for every host below it: only where all of them speak https."
    )
    force_https: bool = _flag(
        False,
        "Send visitors on to https who came to a trusted proxy over http. Health checks and "
        "metrics are answered as they come.",
    )
    cors_origins: tuple[str, ...] = _setting(
        (),
        kinds.origins,
        "Origins whose pages may call the API from a browser, `https://app.example.com,…`, or `*`; "
        "default: none.",
    )
    strict_hosts: bool = _flag(
        False, "Answer 404 for a `Host` that no domain claims, instead of the default domain."
    )
    allowed_url_schemes: tuple[str, ...] = _setting(
        ("http", "https"),
        kinds.comma_list,
        "Schemes that a link may point to. `javascript`, `data` and the like are never allowed.",
    )
    allow_private_targets: bool = _flag(
        True,
        "Let links lead to private and loopback addresses and to names of one's own network, as "
        "on an intranet; off where strangers make links.",
    )
    multi_segment_slugs: bool = _flag(False, "Allow `/` inside custom slugs.")
    slug_length: int = _integer(7, "Characters of a generated slug.", 4, 32)
    max_body_bytes: int = _integer(
        2 * 1024 * 1024, "Largest request body that is read; more answers 413.", 1024
    )
    db_pool_size: int = _integer(
        5,
        "Connections kept per database and process for transactions, and at most as many for "
        "single statements.",
        1,
        500,
    )
    db_max_overflow: int = _integer(
        5, "Connections for transactions above the pool size under load.", 0, 500
    )
    db_pool_timeout_seconds: float = _seconds(
        2.0, "Longest wait for a pooled connection; then the answer is 503."
    )
    db_connect_timeout_seconds: int = _integer(3, "Longest wait for a new connection.", 1, 60)
    db_statement_timeout_seconds: float = _seconds(5.0, "Longest run of one SQL statement.")
    db_lock_timeout_seconds: float = _seconds(
        2.0, "Longest wait of a statement for a lock that another transaction holds."
    )
    db_idle_transaction_seconds: float = _seconds(
        15.0, "Longest pause within a transaction, after which PostgreSQL ends its connection."
    )
    db_pgbouncer: bool = _flag(
        False,
        "The database URLs lead through PgBouncer, which gives connections for a transaction only: "
        "these limits are then set in each transaction; see docs/database.md.",
    )
    ingest_statement_timeout_seconds: float = _seconds(
        60.0, "The same for the click consumer, whose statements are large and nobody waits for."
    )
    ingest_batch_clicks: int = _integer(
        50_000,
        "Clicks in one transaction of the consumer under load: more cost less each, and memory.",
        100,
        1_000_000,
    )
    redis_timeout_seconds: float = _seconds(0.5, "Longest wait for one Redis command.")
    redirect_cache_entries: int = _integer(100_000, "Links kept in each process.", 1)
    redirect_cache_bytes: int = _integer(
        1 << 27, "About how much memory these may take in each process.", 1_000_000
    )
    redirect_cache_seconds: float = _seconds(
        60.0, "Life of a cached link while invalidations arrive through Redis."
    )
    redirect_cache_unsynced_seconds: float = _seconds(
        1.0, "Life of a cached link while Redis is away."
    )
    redirect_fast_path: bool = _flag(
        True, "Answer known plain links before the request is parsed; off only to compare."
    )
    redirect_stale_seconds: float = _seconds(
        86_400.0, "How long past its life a cached link still redirects while PostgreSQL is away."
    )
    redirect_warm_entries: int = _integer(
        10_000,
        "Of the most clicked links, how many each process loads in the background when it starts; "
        "0: none.",
    )
    redirect_shared_seconds: float = _setting(
        300.0,
        kinds.seconds(zero=True),
        "Life of a link in Redis, where all processes find it; 0: none are kept there.",
    )
    redirect_shared_stale_seconds: float = _seconds(
        3_600.0,
        "How long past its life Redis keeps a link, for processes that do not know it while "
        "PostgreSQL is away.",
    )
    redirect_redis_timeout_seconds: float = _seconds(
        0.1, "Longest wait for Redis on the way to a redirect; then PostgreSQL is asked."
    )
    plans: tuple[Plan, ...] = _setting(
        (),
        read_plans,
        'Plans beside `standard` and `unlimited`, as JSON such as `{"free": {"reads_per_minute": '
        '60, "writes_per_minute": 20, "api_calls_per_day": 5000, "links_per_month": 100}}`, or '
        "the path of a file of it; see docs/limits.md.",
    )
    default_plan: str = _setting(
        "standard", kinds.text(1), "Plan of a workspace for which none was set."
    )
    fetch_titles: bool = _flag(
        False,
        "Have workers (`scripts/run-jobs`) fetch the title of the page to which a link without one "
        "leads. Needs Redis or RabbitMQ.",
    )
    fetch_seconds: float = _seconds(10.0, "Longest time to fetch one page, its redirects included.")
    jobs_queue: str = _setting(
        "signpost.jobs",
        kinds.matching(r"[A-Za-z0-9._-]{1,100}"),
        "Name of the queue of jobs, in RabbitMQ or in Redis.",
    )
    job_threads: int = _integer(4, "Jobs that one worker does at the same time.", 1, 100)
    password_tries_per_minute: int = _integer(
        5, "Passwords per link and address before 429.", 1, 1_000_000
    )
    sign_in_tries_per_minute: int = _integer(
        20,
        "Tries to sign in, or to accept an invitation, from one address before 429.",
        1,
        1_000_000,
    )
    sign_in_tries_per_hour: int = _integer(
        20, "Tries to sign in to one account, from anywhere, before 429.", 1, 1_000_000
    )
    token_requests_per_minute: int = _integer(
        300, "Requests for OAuth tokens per address before 429.", 1, 1_000_000
    )
    misses_per_minute: int = _integer(
        300,
        "Slugs that are no link's per address, before further ones answer 429 in place of 404. "
        "Redirects are never limited.",
        1,
        1_000_000,
    )
    autoscale_min_workers: int = _integer(
        2, "Fewest web workers that `scripts/autoscale` leaves on a host.", 1, 512
    )
    autoscale_max_workers: int = _integer(
        max(2 * (os.cpu_count() or 1), 2),
        "Most web workers that `scripts/autoscale` starts on a host; default: two per core.",
        1,
        512,
    )
    autoscale_busy_percent: int = _integer(
        60, "How busy web workers should be: what `signpost_load` tells as 1.", 10, 90
    )
    autoscale_delay_seconds: float = _seconds(
        0.05, "How long requests may wait in the event loop of a web worker before more are added."
    )
    idempotency_hours: float = _seconds(24.0, "How long an `Idempotency-Key` is remembered.")
    stats_cache_seconds: int = _integer(
        5,
        "Life of cached statistics of a period that still goes on (those of older periods live a "
        "minute or an hour); 0: none are cached.",
        0,
        3600,
    )
    stats_cache_local_entries: int = _integer(
        256, "Statistics that each process keeps while Redis is away.", 1
    )
    live_streams: int = _integer(200, "Streams of live clicks in each process.", 1, 10_000)
    live_streams_per_workspace: int = _integer(
        20, "The same for one workspace; more answers 429.", 1, 10_000
    )
    live_buffer_events: int = _integer(
        256, "Clicks that wait for a slow reader of a live stream before it loses some.", 1, 10_000
    )
    live_heartbeat_seconds: float = _seconds(
        15.0, "A live stream without a click is silent no longer than this."
    )
    spool_segment_bytes: int = _integer(
        1_000_000, "Size at which a spool segment is sealed.", 1_000, 1_000_000
    )
    spool_segment_seconds: float = _seconds(0.2, "Age at which a spool segment is sealed.")
    spool_max_bytes: int = _integer(
        1 << 30,
        "Size of the click spool past which readiness fails and clicks are lost.",
        1_000_000,
    )
    click_retention_days: int = _integer(
        0,
        "Days for which raw clicks are kept, where a workspace says nothing else; 0: for ever. "
        "Older ones are deleted for good; statistics stay.",
        0,
        36_500,
    )
    keep_visitor_address: bool = _flag(
        False, "Keep the visitor's address, truncated to /24 or /48, with each raw click."
    )
    gunicorn_timeout_seconds: int = _integer(
        30, "A worker silent for this long is replaced.", 1, 3600
    )
    gunicorn_graceful_timeout_seconds: int = _integer(
        25, "How long running requests may finish after SIGTERM.", 1, 3600
    )
    gunicorn_keepalive_seconds: int = _integer(
        100, "How long an idle client connection is kept; above the idle limit of routers.", 0, 3600
    )
    gunicorn_max_requests: int = _integer(
        500_000,
        "Requests after which a worker is replaced (0: never); a jitter of 10 % is added. "
        "Redirects that are answered before they are parsed do not count.",
    )
    gunicorn_worker_connections: int = _integer(1_000, "Simultaneous clients per worker.", 1)
    gunicorn_access_log: bool = _flag(
        False, "Also write gunicorn's own access log; the structured log has the same facts."
    )

    @property
    def public_url(self) -> str:
        """`scheme://host[:port]` of the default domain."""
        if self.base_url:
            return self.base_url
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # nosec B104 # noqa: S104
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls_certificate else 'http'}://{host}:{self.port}"

    @property
    def default_domain(self) -> str:
        """Host name of `public_url`, in lower case and without the port."""
        return (urlsplit(self.public_url).hostname or "localhost").lower()

    @property
    def plans_by_name(self) -> Mapping[str, Plan]:
        """All plans."""
        return by_name(self.plans)

    def patient(self, seconds: float) -> Settings:
        """The same for a process whose statements are large and nobody waits for: each of them may
        take so long, or wait so long for a lock."""
        return replace(
            self,
            db_statement_timeout_seconds=seconds,
            db_lock_timeout_seconds=seconds,
            db_idle_transaction_seconds=max(self.db_idle_transaction_seconds, 60.0),
        )

    @property
    def spool_path(self) -> Path:
        """Folder of the click segments."""
        return self.signpost_home / "spool"

    @property
    def control_socket(self) -> Path | None:
        """Where gunicorn's master is asked; None when the path is too long for a socket."""
        path = self.signpost_home / "gunicorn.ctl"
        return path if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH else None

    @property
    def load_path(self) -> Path:
        """Folder in which the web workers of this host tell how busy they are."""
        return self.signpost_home / "load"

    @property
    def jwt_keys_path(self) -> Path:
        """Where keys are kept that no setting gives."""
        return self.signpost_home / "jwt-keys.json"

    def resolved_secret_key(self) -> bytes:
        """The secret key, made and kept under `signpost_home` when no setting gives one."""
        if self.secret_key:
            return self.secret_key.encode()
        return _kept_secret(self.signpost_home / "secret.key")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Read the settings from `environ` (default: the process environment).

        Raises:
            SettingsError: a value does not validate; the message names the variable.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for item in fields(cls):
            name = item.name.upper()
            if environ.get(name, "") == "":
                continue
            try:
                values[item.name] = item.metadata["kind"](environ[name])
            except ValueError as error:
                raise SettingsError(f"{name}: {error}") from None
        values.update(overrides)
        return cls(**_checked(values))


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """Settle what one field's type cannot say."""
    shards = [name for name, _ in values.get("shard_urls", ())]
    if "main" in shards:
        raise SettingsError("SHARD_URLS: The shard `main` is at DATABASE_URL.")
    if len(set(shards)) < len(shards):
        raise SettingsError("SHARD_URLS: A shard is named twice.")
    services = values.get("signpost_services", SERVICES)
    if services in ((), ("all",)):
        services = SERVICES
    unknown = sorted(set(services) - set(SERVICES))
    if unknown:
        raise SettingsError(f"SIGNPOST_SERVICES: Unknown service {unknown[0]!r}.")
    values["signpost_services"] = tuple(services)
    if values.get("oidc_issuer") and not values.get("oidc_audience"):
        raise SettingsError("OIDC_AUDIENCE: Needed with OIDC_ISSUER.")
    jobs_in_redis = values.get("fetch_titles") and not values.get("amqp_url")
    if jobs_in_redis and is_cluster(values.get("redis_url")):
        raise SettingsError("FETCH_TITLES: Jobs cannot wait in a Redis Cluster: set AMQP_URL, too.")
    if values.get("force_https") and not values.get("trusted_proxies"):
        raise SettingsError("FORCE_HTTPS: Only TRUSTED_PROXIES can tell who came over http.")
    low = values.get("autoscale_min_workers", Settings.autoscale_min_workers)
    if low > values.setdefault("autoscale_max_workers", max(low, Settings.autoscale_max_workers)):
        raise SettingsError("AUTOSCALE_MAX_WORKERS: Must not be less than AUTOSCALE_MIN_WORKERS.")
    if values.get("tls_key") and not values.get("tls_certificate"):
        raise SettingsError("TLS_KEY: There is no TLS_CERTIFICATE that it belongs to.")
    names = by_name(values.get("plans", ()))
    if values.get("default_plan", "standard") not in names:
        raise SettingsError(f"DEFAULT_PLAN: No such plan; there are: {', '.join(names)}.")
    home = Path(values.get("signpost_home", "var"))
    values["signpost_home"] = home.expanduser().resolve()
    return values


def _kept_secret(path: Path) -> bytes:
    """Read the secret at `path`, or make it; two processes that race get the same one."""
    if not path.exists():
        make_once(path, secrets.token_urlsafe(48))
    return path.read_bytes().strip()
