"""The web server, its workers, and what they tell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from config import kinds
from config.declaring import flag, integer, seconds, setting

SERVICES = ("redirect", "api")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The web server, its workers, and what they tell."""

    port: int = integer(8000, "TCP port that the web server listens on.", 1, 65535)
    host: str = setting("127.0.0.1", kinds.text(), "Address that the web server listens on.")
    web_concurrency: int = integer(
        os.cpu_count() or 1, "Number of web worker processes; default: one per core.", 1, 512
    )
    base_url: str | None = setting(
        None,
        kinds.base_url,
        "Public address of the default domain, `https://host`; default: `http://HOST:PORT`.",
    )
    tls_certificate: Path | None = setting(
        None,
        kinds.file,
        "PEM file of the web server's own certificate, and those between it and its authority: it "
        "then speaks https alone, without the fast path. Default: a proxy does.",
    )
    tls_key: Path | None = setting(
        None, kinds.file, "PEM file of its private key; default: in `TLS_CERTIFICATE`, too."
    )
    signpost_home: Path = setting(
        Path("var"),
        kinds.text(1),
        "Folder of the embedded servers, the click spool and the generated secrets.",
    )
    signpost_services: tuple[str, ...] = setting(
        SERVICES,
        kinds.comma_list,
        "Services this process offers: `all`, or a list of `redirect` and `api`.",
    )
    log_level: str = setting(
        "INFO",
        kinds.one_of(*kinds.LOG_LEVELS),
        "Least severe log level that is written.",
    )
    log_levels: tuple[tuple[str, str], ...] = setting(
        (),
        kinds.log_levels,
        "Levels of single loggers and of all below them, such as "
        "`api.core.database=DEBUG,gunicorn=WARNING`.",
    )
    log_redirect_sample: float = setting(
        0.0,
        kinds.share,
        "Share of redirects that get a line in the log, 0 to 1; those that fail on our side always "
        "do.",
    )
    log_format: str = setting(
        "auto",
        kinds.one_of("auto", "json", "console"),
        "`json`: one object a line; `console`: for people; `auto`: console on a terminal.",
    )
    metrics_token: str | None = setting(
        None,
        kinds.text(16),
        "What Prometheus sends as `Authorization: Bearer`, at least 16 characters; it also shows "
        "what `/health/ready` keeps from others; default: `/metrics` is not served.",
    )
    metrics_port: int | None = setting(
        None,
        kinds.integer(1, 65535),
        "Port at `METRICS_HOST` where one process of this host serves `/metrics`, too, apart from "
        "what visitors reach: who can connect may read them unless `METRICS_TOKEN` is set.",
    )
    metrics_host: str = setting(
        "127.0.0.1", kinds.text(1), "Address that `METRICS_PORT` listens on."
    )
    status_page: str = setting(
        "private",
        kinds.one_of("off", "private", "public"),
        "Who sees `/status`: `private`, who gives `METRICS_TOKEN` as the password (nobody where "
        "none is set); `public`, everybody, without reasons.",
    )
    status_sample_seconds: float = setting(
        10.0, kinds.seconds(low=1, high=60), "How often each host is looked at for `/status`."
    )
    max_body_bytes: int = integer(
        2 * 1024 * 1024, "Largest request body that is read; more answers 413.", 1024
    )
    gunicorn_timeout_seconds: int = integer(
        30, "A worker silent for this long is replaced.", 1, 3600
    )
    gunicorn_graceful_timeout_seconds: int = integer(
        25, "How long running requests may finish after SIGTERM.", 1, 3600
    )
    gunicorn_keepalive_seconds: int = integer(
        100, "How long an idle client connection is kept; above the idle limit of routers.", 0, 3600
    )
    gunicorn_max_requests: int = integer(
        500_000,
        "Requests after which a worker is replaced (0: never); a jitter of 10 % is added. "
        "Redirects that are answered before they are parsed do not count.",
    )
    gunicorn_worker_connections: int = integer(1_000, "Simultaneous clients per worker.", 1)
    gunicorn_access_log: bool = flag(
        False, "Also write gunicorn's own access log; the structured log has the same facts."
    )
    autoscale_min_workers: int = integer(
        2, "Fewest web workers that `scripts/autoscale` leaves on a host.", 1, 512
    )
    autoscale_max_workers: int = integer(
        max(2 * (os.cpu_count() or 1), 2),
        "Most web workers that `scripts/autoscale` starts on a host; default: two per core.",
        1,
        512,
    )
    autoscale_busy_percent: int = integer(
        60, "How busy web workers should be: what `signpost_load` tells as 1.", 10, 90
    )
    autoscale_delay_seconds: float = seconds(
        0.05, "How long requests may wait in the event loop of a web worker before more are added."
    )
