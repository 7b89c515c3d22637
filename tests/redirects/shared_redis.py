"""A Redis of our own, which tests may fill, empty, stop and start again."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

import redis
from redis.exceptions import RedisError

from api.core.copies import SharedCopies
from api.core.embedded.valkey import EmbeddedValkey
from config.settings import Settings
from tests.services.network import free_ports

_PREFIX = "signpost:copies:v1:"
_START_SECONDS = 20


class SharedRedis:
    """What processes share, seen from outside."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.port = free_ports(1)[0]
        self._server = EmbeddedValkey(folder, port=self.port)
        self._server.start()
        self.url = self._server.url
        self.client = redis.Redis.from_url(self.url)
        self.copies = SharedCopies(self.url, 0.5, settings.resolved_secret_key())
        self._wait()

    def kill(self) -> None:
        """End the server as a crash would."""
        process = self._server._process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait()

    def restart(self) -> None:
        """Start it again, with what it has on its disk."""
        self._server.start()
        self._wait()

    def stop(self) -> None:
        """Stop it for good."""
        self.client.close()
        self._server.stop()

    def at(self, port: int) -> str:
        """The URL of the same server through a relay."""
        return urlsplit(self.url)._replace(netloc=f"127.0.0.1:{port}").geturl()

    def held(self, key: str) -> bytes | None:
        """The bytes under `domain/slug`."""
        held: bytes | None = self.client.get(name_of(key))  # type: ignore[assignment]
        return held

    def holds_copy(self, key: str) -> bool:
        """Whether there is a copy of `domain/slug`, not only a tombstone."""
        return (self.held(key) or b"-") != b"-"

    def let_time_pass(self, key: str) -> None:
        """Forget that `domain/slug` was changed, as happens after a while."""
        if self.held(key) == b"-":
            self.client.delete(name_of(key))

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.client.ping()
                return
            except RedisError:
                assert time.monotonic() < deadline, self._server.complaint()
                time.sleep(0.02)


def name_of(key: str) -> str:
    """The name in Redis of `domain/slug`."""
    return f"{_PREFIX}link:{key}"
