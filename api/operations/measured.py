"""What a process that is no web server counts, and tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from api.clicks.spool import Spool
from api.core.metrics.process import ProcessMetrics
from api.core.metrics.sharing import Sharing
from api.operations.metrics import host_registry
from api.operations.serving import MetricsPort
from config.settings import Settings


@contextmanager
def measured(settings: Settings, kind: str, *collectors: Collector) -> Iterator[None]:
    """Tell meanwhile what `collectors` measure in this process, whose name in the Procfile is
    `kind`; and serve it at `METRICS_PORT`."""
    process = ProcessMetrics(kind)
    own = CollectorRegistry()
    for collector in (process, *collectors):
        own.register(collector)
    sharing = Sharing(settings.metrics_path, own)
    with ExitStack() as stack:
        process.start()
        stack.callback(process.stop)
        sharing.start()
        stack.callback(sharing.stop)
        if settings.metrics_port is not None:
            host = host_registry(settings, _spool(settings))

            def write() -> bytes:
                sharing.tell()
                return generate_latest(host)

            port = MetricsPort(
                settings.metrics_host, settings.metrics_port, settings.metrics_token, write
            )
            port.start()
            stack.callback(port.stop)
        yield


def _spool(settings: Settings) -> Spool:
    """To look at, not to write to."""
    return Spool(
        settings.spool_path,
        settings.spool_segment_bytes,
        settings.spool_segment_seconds,
        settings.spool_max_bytes,
    )
