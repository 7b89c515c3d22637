"""What is called how in Redis that is believed only as long as the server has forgotten nothing.

On one server there is one epoch (see `epochs`) beside all of a kind. Of a cluster each server can
be emptied, or replaced, by itself, so they are in groups, each of one hash slot with an epoch of
its own: each is read from the server that has its epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from zlib import crc32

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from api.core.redis_clients import cluster_of

_EPOCH = "epoch"
# Many more than a cluster has servers, and few enough to look at all of them.
_GROUPS = 128


class EpochNames:
    """Names of one kind in one Redis; they begin with a prefix."""

    def __init__(self, prefix: str, tags: Sequence[str]) -> None:
        self._groups = [prefix + tag for tag in tags]

    def of(self, key: str) -> tuple[str, str]:
        """The name of `key`, and that of its epoch."""
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


def names_of(client: redis.Redis, prefix: str) -> EpochNames:
    """The names with a prefix in the Redis of `client`."""
    return EpochNames(prefix, [""] if cluster_of(client) is None else hash_tags())


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
