"""Redis as the broker of jobs, as kombu makes it; but every key has a life.

Kombu also keeps tables of which queue a message goes to, for ever; here that is the queue which is
called as its exchange is. What waits for so long that every job in it has expired may go: what is
to be done is kept in PostgreSQL.
"""

from __future__ import annotations

from typing import Any

import kombu.transport
from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps

# Of jobs that wait and of those that a worker has, since the last one that came. A job expires
# within the hour (`application.EXPIRES_SECONDS`).
LIFE_SECONDS = 7_200
_LIFE_MS = LIFE_SECONDS * 1000


class JobDeliveries(kombu_redis.QoS):
    """What workers have, and have not done yet."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note that a worker has a message."""
        super().append(message, delivery_tag)  # type: ignore[no-untyped-call]
        with self.pipe_or_acquire() as pipe:
            pipe.pexpire(self.unacked_index_key, _LIFE_MS)
            pipe.pexpire(self.unacked_key, _LIFE_MS).execute()


class JobChannel(kombu_redis.Channel):
    """Queues by their names."""

    QoS = JobDeliveries

    def get_table(self, exchange: str) -> list[tuple[str, str, str]]:
        """Where messages to an exchange go."""
        return [(exchange, "", exchange)]

    def _queue_bind(self, *_: Any) -> None:
        """Nothing: see `get_table`."""

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        key = self._key(queue, message)
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.lpush(key, dumps(message)).pexpire(key, _LIFE_MS).execute()  # type: ignore[no-untyped-call]

    def _do_restore_message(
        self, payload: Any, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        super()._do_restore_message(payload, exchange, routing_key, pipe, leftmost)  # type: ignore[no-untyped-call]
        for queue in self._lookup(exchange, routing_key):  # type: ignore[no-untyped-call]
            pipe.pexpire(self._key(queue, payload), _LIFE_MS)

    def _key(self, queue: str, message: Any) -> str:
        return str(self._q_for_pri(queue, self._get_message_priority(message, reverse=False)))  # type: ignore[no-untyped-call]


class JobTransport(kombu_redis.Transport):
    """Kombu's, with these channels."""

    Channel = JobChannel


def use_for_redis() -> None:
    """Have kombu use this where a URL names a Redis."""
    name = f"{JobTransport.__module__}:{JobTransport.__name__}"
    kombu.transport.TRANSPORT_ALIASES |= {"redis": name, "rediss": name}
