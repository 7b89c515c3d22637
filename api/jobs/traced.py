"""Jobs in the traces of the requests that asked for them: in the headers of their messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from celery import current_task

from api.core.tracing.context import TraceContext, read_traceparent
from api.core.tracing.spans import CONSUMER, PRODUCER
from api.core.tracing.tracer import TRACER

_HEADER = "traceparent"


@contextmanager
def publishing(job: str, queue: str, context: TraceContext | None) -> Iterator[dict[str, str]]:
    """The headers of a message that is sent meanwhile; none of what is in no sampled trace."""
    if context is None:
        yield {}
        return
    attributes = {"messaging.operation.name": "publish", "messaging.operation.type": "send"}
    told = attributes | {"messaging.destination.name": queue, "signpost.job": job}
    with TRACER.trace(f"publish {queue}", PRODUCER, told, context) as span:
        yield {_HEADER: span.context.to_traceparent()}


def continuing(job: str, task: Callable[..., Any]) -> Callable[..., Any]:
    """A task that goes on in the trace of its message."""
    attributes = {"messaging.operation.name": "process", "messaging.operation.type": "process"}

    @wraps(task)
    def run(*arguments: Any) -> Any:
        parent = read_traceparent((current_task.request.headers or {}).get(_HEADER))
        told = attributes | {"signpost.job": job}
        with TRACER.trace(f"process {job}", CONSUMER, told, parent):
            return task(*arguments)

    return run
