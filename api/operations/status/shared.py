"""The minutes of all hosts of the installation, in Redis: a hash each (docs/redis.md).

All keys have one hash tag, so that a cluster answers for the hour at once. It holds some hundred
kilobytes, and each host writes a few hundred bytes every ten seconds.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

from api.core.redis_clients import Script, make_redis
from api.operations.status.figures import MOST, Figures

_PREFIX = "signpost:status:v1:{minutes}:"
_LIFE_SECONDS = 7_200
# There are half as many names. Whatever goes wrong, a key does not grow without end.
_MOST_NAMES = 400

_ADD = Script("""
local key, most = KEYS[1], ARGV[3]
local room = tonumber(ARGV[2]) - redis.call('HLEN', key)
for i = 4, #ARGV, 2 do
    local name, value = ARGV[i], ARGV[i + 1]
    local held = redis.call('HGET', key, name)
    if not held then room = room - 1 end
    if held or room >= 0 then
        if string.sub(name, 1, #most) ~= most then
            redis.call('HINCRBYFLOAT', key, name, value)
        elseif not held or tonumber(value) > tonumber(held) then
            redis.call('HSET', key, name, value)
        end
    end
end
redis.call('EXPIRE', key, ARGV[1])
""")
_READ = Script("""
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('HGETALL', key) end
return found
""")


class SharedMinutes:
    """Added to by one process of each host, read by those that show the page."""

    def __init__(self, redis_url: str, timeout_seconds: float) -> None:
        # Not tried again: what may have been added would be there twice.
        self._client = make_redis(redis_url, timeout_seconds, retries=0)

    def add(self, minute: int, figures: Figures) -> None:
        """Add to a minute.

        Raises:
            RedisError: Redis is away.
        """
        arguments: list[str | float] = [_LIFE_SECONDS, _MOST_NAMES, MOST]
        for name, value in figures.items():
            arguments += (name, repr(value))
        _ADD(self._client, [f"{_PREFIX}{minute}"], arguments)

    def read(self, minutes: Sequence[int]) -> list[Figures | None]:
        """What is known of each; None where nobody has sampled.

        Raises:
            RedisError: Redis is away.
        """
        found = _READ(self._client, [f"{_PREFIX}{minute}" for minute in minutes], [])
        return [_figures(pairs) for pairs in found]

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def _figures(pairs: Sequence[bytes]) -> Figures | None:
    """Numbers by name. Others may write into Redis: what is no number is not drawn."""
    values, held = iter(pairs), {}
    for name, value in zip(values, values, strict=True):
        with contextlib.suppress(ValueError):
            number = float(value)
            if math.isfinite(number) and number >= 0:
                held[name.decode()] = number
    return held or None
