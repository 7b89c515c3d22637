"""The tracer of this process: begins traces, continues those of others, has them exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from api.core.tracing.bounds import Bound
from api.core.tracing.context import TraceContext
from api.core.tracing.sampling import Sampler
from api.core.tracing.spans import MOST_LINKS, Span, Trace, resumed
from config.settings import Settings

if TYPE_CHECKING:
    from api.core.tracing.export import Exporter

_STOP_SECONDS = 5.0
# Unsampled traces that are kept within a second, as they failed.
MOST_FAILED = 100
# Traces within a second that are sampled as a client's `traceparent` asks for it.
MOST_ASKED = 100


class Tracer:
    """Usable at once; spans are exported between `start()` and `stop()`."""

    def __init__(self) -> None:
        self.sampler = Sampler(0.0, follows_parent=False)
        self._settings: Settings | None = None
        self._service = ""
        self._exporter: Exporter | None = None
        # Of an outage some say enough, and to export what everybody runs into would be a load when
        # there is least room for one.
        self.failures = Bound(MOST_FAILED)
        # Anybody on the internet may ask for a trace: so nobody gets very many.
        self.callers = Bound(MOST_ASKED)

    def configure(self, settings: Settings, service: str) -> None:
        """Trace as the settings say; `service` is what the process is called where none does."""
        self._settings = settings
        self._service = settings.otel_service_name or service
        self.sampler = Sampler.of(settings)

    def start(self) -> None:
        """Begin to export in this process; a forked server calls it in each worker, after the
        fork: what exports is a thread."""
        from api.core.tracing.export import Exporter  # noqa: PLC0415 - only where it is used

        assert self._settings is not None  # noqa: S101 - configured before
        self._exporter = Exporter(self._settings, self._service)

    def stop(self) -> None:
        """Export what is left, if that is quick."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            exporter.stop(_STOP_SECONDS)

    def begin(
        self,
        name: str,
        kind: str,
        attributes: dict[str, Any],
        parent: TraceContext | None = None,
        links: Sequence[TraceContext] = (),
        *,
        chosen: bool | None = None,
    ) -> Span:
        """Begin what this process does in a trace: a new one unless it has a `parent`. It is
        sampled or not as was `chosen`, but never against a parent's word. What is done `within`
        it, or while it is `resumed`, belongs to it, until `end`."""
        trace_id = parent.trace_id if parent else self.sampler.new_id(chosen)
        sampled = chosen is not False and self.sampler.takes(parent, trace_id)
        trace = Trace(trace_id, sampled, self._export)
        parent_id = parent.span_id if parent else 0
        return Span(
            trace, parent_id, name, kind, attributes, links[:MOST_LINKS], parent is not None
        )

    def end(self, span: Span) -> None:
        """End what `begin` began; with an error it is kept, whether sampled or not."""
        span.end()
        trace = span.trace
        trace.failed = span.error is not None and (trace.sampled or self.failures.takes())
        trace.finish()

    @contextmanager
    def trace(
        self,
        name: str,
        kind: str,
        attributes: Mapping[str, Any],
        parent: TraceContext | None = None,
        links: Sequence[TraceContext] = (),
    ) -> Iterator[Span]:
        """`begin` and `end` around what is done here."""
        span = self.begin(name, kind, dict(attributes), parent, links)
        try:
            with resumed(span):
                yield span
        except BaseException as error:
            span.fail(error)
            raise
        finally:
            self.end(span)

    def _export(self, spans: Sequence[Span]) -> None:
        if self._exporter is not None:
            self._exporter.put(spans)


TRACER = Tracer()
