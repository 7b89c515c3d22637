"""How gunicorn serves: its settings, and what happens around a fork."""

# With preload_app the application is imported before gunicorn would patch, silently: so first.
from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from gevent.hub import Hub  # noqa: E402
from gunicorn.glogging import Logger  # noqa: E402

from api.core import refusals  # noqa: E402
from api.core.database import gevent_wait  # noqa: E402
from api.core.metrics.workers import note_end, worker_counts  # noqa: E402
from api.core.worker import Worker  # noqa: E402
from config.logging import configure_logging, level_of  # noqa: E402
from config.settings import Settings, SettingsError  # noqa: E402
from config.tls import server_context  # noqa: E402

try:
    _settings = Settings.load()
    if _settings.tls_certificate:
        server_context(_settings.tls_certificate, _settings.tls_key)
except SettingsError as error:
    sys.exit(f"gunicorn: {error}")
except ValueError as error:
    sys.exit(f"gunicorn: TLS_CERTIFICATE: {error}")
configure_logging(_settings)
# A second more than the server's own limit, whose error tells more.
gevent_wait.install(_settings.db_statement_timeout_seconds + 1)
refusals.install()
_workers = worker_counts(_settings.metrics_path) if _settings.measures else None


def _tell_of_greenlet(_hub: Any, _context: Any, kind: Any, error: Any, trace: Any) -> None:
    """What nobody caught is a line of the log, and not gevent's text among them."""
    told = (kind, error, trace) if kind else None
    logging.getLogger("signpost.uncaught").critical("uncaught exception", exc_info=told)


Hub.print_exception = _tell_of_greenlet


# What gunicorn says of each request at DEBUG: its path, where people may have anything.
_LINE_OF_A_REQUEST = "%s %s"


class StructuredLogger(Logger):  # type: ignore[misc]
    """gunicorn's messages, written as all our logs are."""

    def setup(self, cfg: Any) -> None:
        """Leave the writing to the root logger's handler."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True
        # gunicorn's own setting would count for more than what LOG_LEVELS says of `gunicorn`.
        self.error_log.setLevel(level_of(_settings, self.error_log.name))
        self.error_log.addFilter(lambda record: record.msg != _LINE_OF_A_REQUEST)


chdir = str(Path(__file__).resolve().parents[1])
wsgi_app = "wsgi:app"
preload_app = True
bind = [
    f"[{_settings.host}]:{_settings.port}"
    if ":" in _settings.host
    else f"{_settings.host}:{_settings.port}"
]

certfile = str(_settings.tls_certificate) if _settings.tls_certificate else None
keyfile = str(_settings.tls_key) if _settings.tls_key else None

worker_class = "api.redirects.worker.RedirectWorker"
workers = _settings.web_concurrency
worker_connections = _settings.gunicorn_worker_connections
# The heartbeat file in memory: on a slow disk, writing it can block a worker.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # nosec B108 # noqa: S108
timeout = _settings.gunicorn_timeout_seconds
graceful_timeout = _settings.gunicorn_graceful_timeout_seconds
keepalive = _settings.gunicorn_keepalive_seconds
max_requests = _settings.gunicorn_max_requests
max_requests_jitter = _settings.gunicorn_max_requests // 10

# Parse in C where gunicorn-h1c is installed.
http_parser = "auto"
limit_request_line = 8190  # the most that gunicorn allows: tracking queries are long
limit_request_fields = 100
limit_request_field_size = 8190

# gunicorn's defaults trust every process on this host, and let a proxy's client set the path. What
# proxies say is read in api/core/client.py alone.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}

logger_class = StructuredLogger
loglevel = _settings.log_level.lower()
accesslog = "-" if _settings.gunicorn_access_log else None

control_socket = str(_settings.control_socket)
control_socket_disable = _settings.control_socket is None
_settings.signpost_home.mkdir(parents=True, exist_ok=True)


def ssl_context(_config: Any, make_default: Any) -> Any:
    """In each worker anew: after a SIGHUP to the master, new ones read a renewed certificate."""
    if _settings.tls_certificate is None:
        return make_default()
    return server_context(_settings.tls_certificate, _settings.tls_key)


def when_ready(_server: Any) -> None:
    """Keep what is loaded out of every later collection, just before the first fork: a collector
    that writes into each object would make each worker copy the pages that all of them share."""
    gc.collect()
    gc.freeze()


def on_starting(_server: Any) -> None:
    """Count workers from now on."""
    if _workers is not None:
        _workers.begin()


def pre_fork(_server: Any, worker: Any) -> None:
    """Count a worker that begins."""
    if _workers is not None:
        _workers.starts(worker)


def child_exit(_server: Any, worker: Any) -> None:
    """Count a worker that is gone, and keep what it had counted."""
    if _workers is not None:
        _workers.ended(worker)


def on_exit(_server: Any) -> None:
    """Keep what the master counted."""
    if _workers is not None:
        _workers.end()


def post_fork(server: Any, _worker: Any) -> None:
    """Forget the parent's connections: two processes on one connection read each other's rows."""
    server.app.wsgi().extensions["signpost"].dispose_after_fork()


def post_worker_init(worker: Any) -> None:
    """Begin what runs beside the requests, now that the event loop is this process's own."""
    runtime = worker.wsgi.extensions["signpost"]
    runtime.start_worker()
    if worker.age == 1:  # workers are counted as they are forked, also those that replace others
        runtime.start_first_worker()
    worker.before_stop = runtime.end_answers
    if isinstance(worker, Worker):  # not where another class was asked for, to compare
        worker.report_load(_settings.load_path)
    # What is answered before it is parsed is in no access log, and knows no PROXY protocol.
    make_fast = worker.wsgi.extensions.get("signpost.fast")
    if make_fast and not worker.cfg.accesslog and worker.cfg.proxy_protocol == "off":
        worker.use(make_fast())


def worker_exit(_server: Any, worker: Any) -> None:
    """Seal the spool. gunicorn may call this in the master, too, for a worker that was lost."""
    if worker.pid == os.getpid() and worker.booted:
        if isinstance(worker, Worker):
            worker.end_report()
        worker.wsgi.extensions["signpost"].stop_worker()
        if _workers is not None:
            note_end(worker)
