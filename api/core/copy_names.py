"""What copies are called in Redis, and the epochs that they are written in.

On one server there is one epoch, beside all copies. Of a cluster each server can be emptied, or
replaced, by itself, so copies are in groups, each of one hash slot with an epoch of its own: a copy
is read together with its epoch, from one server.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from zlib import crc32

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from api.core.redis_clients import cluster_of

PREFIX = "signpost:copies:v1:"
_EPOCH = "epoch"
# Many more than a cluster has servers, and few enough to look at all of them.
_GROUPS = 128


class CopyNames:
    """Of all copies that one Redis holds."""

    def __init__(self, tags: Sequence[str]) -> None:
        self._groups = [f"{PREFIX}{tag}" for tag in tags]

    def of(self, key: str) -> tuple[str, str]:
        """The name of the copy of `key`, and that of its epoch."""
        group = self._group(key)
        return group + key, group + _EPOCH

    def grouped(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Keys by the epoch that they share; these can be asked for together."""
        found: dict[str, list[str]] = {}
        for key in keys:
            found.setdefault(self._group(key) + _EPOCH, []).append(key)
        return found

    def epochs(self) -> list[str]:
        """The names of all epochs."""
        return [group + _EPOCH for group in self._groups]

    def _group(self, key: str) -> str:
        groups = self._groups
        return groups[0] if len(groups) == 1 else groups[crc32(key.encode()) % len(groups)]


def names_of(client: redis.Redis) -> CopyNames:
    """The names in the Redis of `client`."""
    return CopyNames([""] if cluster_of(client) is None else hash_tags())


@cache
def hash_tags() -> list[str]:
    """Hash tags at even distances among the slots, as servers have ranges of these."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < _GROUPS:
        slot = key_slot(str(number).encode())
        found.setdefault(slot * _GROUPS // REDIS_CLUSTER_HASH_SLOTS, f"{{{number}}}:")
        number += 1
    return [found[group] for group in range(_GROUPS)]
