"""How the worker of jobs consumes; Celery finds it by its name when the worker begins.

Not before: what watches tasks, as Sentry's integration does, has to be there first, and who only
queues jobs needs none of it.
"""

from __future__ import annotations

from celery.worker.consumer import Consumer


class JobConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, without what delays messages in RabbitMQ: it declares 28 exchanges and
    queues for that, and what is to be done later is kept in PostgreSQL."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        """Its steps."""

        default_steps = tuple(
            step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in str(step)
        )
