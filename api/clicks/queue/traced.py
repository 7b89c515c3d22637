"""The broker where clicks are traced: to publish a segment is a span, and its message names it."""

from __future__ import annotations

from collections.abc import Mapping

from pika.adapters.blocking_connection import BlockingChannel

from api.clicks.queue.broker import Broker
from api.clicks.traces import read_traces
from api.core.tracing.spans import PRODUCER
from api.core.tracing.tracer import TRACER


class TracedBroker(Broker):
    """Publishes within the trace of a segment's first sampled request, with links to the others:
    one message cannot have several parents."""

    def publish(
        self,
        channel: BlockingChannel,
        name: str,
        body: bytes,
        headers: Mapping[str, object] | None = None,
    ) -> None:
        """Publish a segment; see `Broker`."""
        contexts = read_traces(body)
        if not contexts:
            super().publish(channel, name, body, headers)
            return
        attributes = {
            "messaging.system": "rabbitmq",
            "messaging.destination.name": self.queue,
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.message.id": name,
            "messaging.message.body.size": len(body),
        }
        title, (parent, *others) = f"publish {self.queue}", contexts
        with TRACER.trace(title, PRODUCER, attributes, parent, others) as span:
            named = {"traceparent": span.context.to_traceparent()}
            super().publish(channel, name, body, {**(headers or {}), **named})
