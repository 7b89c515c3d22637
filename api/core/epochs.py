"""When what Redis holds is no longer to be believed: after another server, or another run of it,
has taken the place of the one that it was given to.

An epoch tells the server's `run_id`, and when it began. It is confirmed by whoever connects, and of
a cluster, where the others may change beside the one that one is connected to, every second.
"""

from __future__ import annotations

import secrets
import time
from typing import cast

import redis
from redis.exceptions import RedisError

from api.core.epoch_names import EpochNames
from api.core.redis_clients import Script, cluster_of, place_of

# Without one all is read again once, so that it is renewed long before.
_LIFE_SECONDS = 30 * 86_400
_RENEW_SECONDS = 3_600.0
_LOOK_SECONDS = 1.0

# The server asks itself who it is. One that does not tell has a new epoch each time: safe, if
# wasteful.
_CONFIRM = Script("""
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local held = redis.call('GET', KEYS[1])
if held and run ~= '' and string.match(held, '^(%x+)%.%x+%.%d+$') == run then
    redis.call('EXPIRE', KEYS[1], ARGV[2])
    return held
end
local epoch = run .. '.' .. ARGV[1] .. '.' .. ARGV[3]
redis.call('SET', KEYS[1], epoch, 'EX', ARGV[2])
return epoch
""")


def confirm_epoch(client: redis.Redis, name: str) -> bytes:
    """The epoch called `name`; a new one if this is another server, or another run of it, than in
    the last one.

    Raises:
        RedisError: Redis is away.
    """
    now_ms = int(time.time() * 1000)
    return cast(bytes, _CONFIRM(client, [name], [secrets.token_hex(8), _LIFE_SECONDS, now_ms]))


def age_of(epoch: bytes) -> float:
    """For how many seconds nothing was forgotten, by our clock; 0 for an epoch that is not told."""
    try:
        began_ms = int(epoch.split(b".")[2])
    except (IndexError, ValueError):
        return 0.0
    return time.time() - began_ms / 1000


class EpochWatch:
    """Confirms the epochs of one Redis for a process that goes on believing what it holds."""

    def __init__(self, client: redis.Redis, names: EpochNames) -> None:
        self._client = client
        self._names = names
        self._runs: dict[str, str | None] = {}
        self._looked = self._renewed = 0.0

    def begin(self) -> None:
        """Confirm all, where there is somebody who answers.

        Raises:
            RedisError: nobody does.
        """
        cluster = cluster_of(self._client)
        if cluster is not None:
            self._runs = {}
            self._confirm_nodes(cluster.runs())
        else:
            (name,) = self._names.epochs()
            confirm_epoch(self._client, name)
        self._looked = self._renewed = time.monotonic()

    def look(self) -> bool:
        """Whether another server has come since the last look, which was believed till now; what it
        had is no more.

        Raises:
            RedisError: nobody answers any more.
        """
        now = time.monotonic()
        cluster = cluster_of(self._client)
        if now - self._renewed > _RENEW_SECONDS:
            self.begin()
        if cluster is None or now - self._looked < _LOOK_SECONDS:
            return False
        self._looked = now
        runs = cluster.runs()
        changed = any(run is not None and run != self._runs.get(name) for name, run in runs.items())
        if changed:
            self._confirm_nodes(runs)
        else:
            # Of a server that is away it is known who it was; not of one that others replaced.
            self._runs = {name: run or self._runs.get(name) for name, run in runs.items()}
        return changed

    def _confirm_nodes(self, runs: dict[str, str | None]) -> None:
        """Confirm the epochs of the nodes that answer; of the others when they do."""
        for name in self._names.epochs():
            node = place_of(self._client, name)
            if runs.get(node) is None:
                continue
            try:
                confirm_epoch(self._client, name)
            except (RedisError, OSError):
                runs[node] = None
        self._runs = runs
