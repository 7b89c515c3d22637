"""Targets as they are kept in Redis: as JSON, and only those that hold no secret."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from api.core.copies import Look, SharedCopies
from api.redirects.cache import EVICTION_PREFIX, Target
from api.targets.rules import Block
from config.settings import Settings

log = logging.getLogger(__name__)

# Of the list below; what another version wrote is read from the database again.
_VERSION = 2
# Scanners bring many, and nobody waits for one.
_MISS_SECONDS = 5.0
# In the last part of its life a copy is made again.
_LAST_PART = 0.2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Found(NamedTuple):
    """What Redis says of a slug; `target` is None also where it says that there is no link."""

    look: Look | None = None
    known: bool = False
    target: Target | None = None
    ageing: bool = False

    @property
    def fresh(self) -> bool:
        """Whether it can be answered with; otherwise only when the database is away."""
        return self.known and self.left_seconds > 0

    @property
    def settled(self) -> bool:
        """Whether the link has not changed for longer than a replica may lag, as far as is known;
        not while Redis is away."""
        return self.look is not None and self.look.settled

    @property
    def left_seconds(self) -> float:
        """Of the life of what is known."""
        return 0.0 if self.look is None else self.look.left_seconds


NOTHING = Found()


class SharedTargets:
    """The level between the process and PostgreSQL. Redis away: nothing is found, nothing kept."""

    def __init__(self, copies: SharedCopies, *, life_seconds: float, stale_seconds: float) -> None:
        self._copies = copies
        self._life_seconds = life_seconds
        self._stale_seconds = stale_seconds

    def look(self, key: str) -> Found:
        """What is shared of `domain/slug`."""
        look = self._copies.look(EVICTION_PREFIX + key)
        return NOTHING if look is None else self._found(look)

    def keep(self, key: str, found: Found, target: Target | None) -> None:
        """Share what the database said after `found` was."""
        if found.look is None:
            return
        if target is None:
            miss_seconds = min(_MISS_SECONDS, self._life_seconds)
            self._copies.keep(EVICTION_PREFIX + key, found.look, _pack(None), miss_seconds, 0)
        elif is_sharable(target):
            name, body = EVICTION_PREFIX + key, _pack(target)
            self._copies.keep(name, found.look, body, self._life_seconds, self._stale_seconds)

    def keep_each(self, targets: dict[str, Target], look_each: dict[str, Look]) -> int:
        """Share many that were read after `look_each`; how many were kept.

        Raises:
            RedisError: Redis is away.
        """
        sharable = [
            (EVICTION_PREFIX + key, look_each[key], _pack(target))
            for key, target in targets.items()
            if key in look_each and is_sharable(target)
        ]
        return self._copies.keep_each(sharable, self._life_seconds, self._stale_seconds)

    def look_each(self, keys: list[str]) -> dict[str, Look]:
        """What is held of each, to be given to `keep_each`.

        Raises:
            RedisError: Redis is away.
        """
        looks = self._copies.look_each([EVICTION_PREFIX + key for key in keys])
        return dict(zip(keys, looks, strict=True))

    def _found(self, look: Look) -> Found:
        if look.body is None:
            return Found(look)
        try:
            target = _unpack(look.body)
        except (ValueError, TypeError, OverflowError) as error:
            log.debug("a shared link cannot be read: %s", error)
            return Found(look)
        ageing = target is not None and look.left_seconds < self._life_seconds * _LAST_PART
        return Found(look, True, target, ageing)


def make_shared_targets(settings: Settings, timeout_seconds: float) -> SharedTargets | None:
    """The level as the settings want it; None for none."""
    if settings.redis_url is None or settings.redirect_shared_seconds == 0:
        return None
    return SharedTargets(
        SharedCopies(settings.redis_url, timeout_seconds, settings.resolved_secret_key()),
        life_seconds=settings.redirect_shared_seconds,
        stale_seconds=min(settings.redirect_shared_stale_seconds, settings.redirect_stale_seconds),
    )


def is_sharable(target: Target) -> bool:
    """Whether a target may be kept in Redis: the hash of a password is a secret of the database,
    and Redis may be read by more people."""
    return target.password_hash is None


def _pack(target: Target | None) -> bytes:
    if target is None:
        return orjson.dumps([_VERSION, None])
    fields = [
        target.slot,
        target.id,
        target.workspace_id,
        target.url,
        _microseconds(target.starts_at),
        _microseconds(target.expires_at),
        target.limited,
        target.redirect_status,
        target.forward_query,
        target.enabled,
        target.deleted,
        # For processes that could not read any rule; all others judge by themselves.
        0 if target.block is None else target.block.status,
    ]
    return orjson.dumps([_VERSION, fields])


def _unpack(body: bytes) -> Target | None:
    """The target in a copy.

    Raises:
        ValueError, TypeError, OverflowError: it is of another version, or is none.
    """
    version, fields = orjson.loads(body)
    if version != _VERSION:
        raise ValueError(f"version {version}")
    if fields is None:
        return None
    slot, number, workspace, url, starts, expires, limited, status, forward, on, gone, by = fields
    return Target(
        slot=_whole(slot),
        id=_whole(number),
        workspace_id=_whole(workspace),
        url=_text(url),
        starts_at=_moment(starts),
        expires_at=_moment(expires),
        limited=limited is True,
        password_hash=None,
        redirect_status=_whole(status),
        forward_query=forward is True,
        enabled=on is True,
        deleted=gone is True,
        block=Block(_whole(by), None) if by else None,
    )


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _moment(microseconds: Any) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=_whole(microseconds))


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError("no whole number")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("no text")
    return value
