"""Finished answers that are kept for a while: in Redis for all processes, else in the process.

Redis away: answers are kept in the process and for a short time only, as nothing can evict them
there; nobody is told, and nobody waits long. An answer is bytes with a checksum, never a pickle:
a value that somebody planted is at worst a wrong answer, and a damaged one is computed again.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import redis
from cachelib.serializers import BaseSerializer
from flask import Flask, Response, request
from flask_caching import Cache

from api.core.answers import JSON
from api.core.breaker import RedisBreaker
from api.core.redis_clients import cluster_of, make_redis, place_of

log = logging.getLogger(__name__)

_PREFIX = "signpost:answers:v1:"
# The group of which every group is part.
EVERYTHING = "everything"
# What cannot be evicted must not live long.
_LOCAL_SECONDS = 5
_LOCAL_BYTES = 65_536
_GENERATION_SECONDS = 86_400
# A Redis that hangs costs one timeout in so many seconds.
_RETRY_SECONDS = 2.0
# A client cannot be told of an eviction, so it asks again after this at the latest.
_CLIENT_SECONDS = 60
# Longer than any statement may run: the leader of a flight was lost.
_FLIGHT_SECONDS = 30

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """The body of an answer, its strong entity tag, and until when it holds (Unix seconds)."""

    body: bytes
    etag: str
    expires_at: float


class AnswerCache:
    """Keeps answers by group (such as a workspace), which can be evicted as a whole."""

    def __init__(
        self, app: Flask, redis_url: str | None, timeout_seconds: float, *, local_entries: int
    ) -> None:
        self._local = Cache(app, with_jinja2_ext=False, config=_local_config(local_entries))
        self._shared: Cache | None = None
        if redis_url:
            self._client = make_redis(redis_url, timeout_seconds)
            config = _shared_config(self._client)
            self._shared = Cache(app, with_jinja2_ext=False, config=config)
            self._breaker = RedisBreaker(
                redis_url, "answers are cached per process", _RETRY_SECONDS
            )
        self._flights: dict[str, _Flight] = {}
        self._lock = threading.Lock()
        self._unsent: set[str] = set()

    def answer(
        self, group: str, key: str, life_seconds: int, compute: Callable[[], bytes]
    ) -> CachedAnswer:
        """The answer that is kept under `key`, or a computed one, which is then kept.

        Equal questions that come while it is computed wait for it. What `compute` raises is raised
        to all of them, and not kept.
        """
        if life_seconds <= 0:
            return _answer(compute(), 0)
        generation = self._generation(group)
        place = f"{group}:{generation or self._local_generation(group)}:{key}"
        lookup = _Lookup(place, life_seconds, shared=generation is not None)
        return self._once(place, lambda: self._find_or_compute(lookup, compute))

    def evict(self, group: str) -> bool:
        """Forget the answers of a group, or of `EVERYTHING`; whether all processes do so at once.

        Without Redis each process forgets by itself within seconds. What Redis holds for others is
        evicted by this process before it uses Redis again.
        """
        self._local.set(_generation_key(group), _new_generation(), _GENERATION_SECONDS)
        if self._shared is None:
            return False
        self._unsent.add(group)
        return self._send_evictions()

    def _find_or_compute(self, lookup: _Lookup, compute: Callable[[], bytes]) -> CachedAnswer:
        shared = self._shared if lookup.shared else None
        if shared is None:
            kept = self._local.get(lookup.place)
        else:
            kept = self._ask(lookup.place, lambda: shared.get(lookup.place))
        found = None if kept is None else _unpack(kept, lookup.life_seconds)
        if found is not None:
            return found
        if shared is None:
            answer = _answer(compute(), min(lookup.life_seconds, _LOCAL_SECONDS))
            if len(answer.body) <= _LOCAL_BYTES:
                self._local.set(lookup.place, _pack(answer), _LOCAL_SECONDS)
            return answer
        answer = _answer(compute(), lookup.life_seconds)
        packed = _pack(answer)
        self._ask(lookup.place, lambda: shared.set(lookup.place, packed, lookup.life_seconds))
        return answer

    def _generation(self, group: str) -> str | None:
        """What the keys of a group's answers begin with at present; None while Redis is away.

        It is random: one that Redis forgot never comes again, and with it no answer from before.
        """
        shared = self._shared
        if shared is None:
            return None
        if self._unsent and not self._send_evictions():
            return None
        client, keys = self._client, [_generation_key(EVERYTHING), _generation_key(group)]
        if cluster_of(client) is None:
            kept = self._ask(keys[0], lambda: _generations(client, keys))
        else:
            each = [self._ask(key, lambda: _generations(client, [key])) for key in keys]  # noqa: B023
            kept = [one for answer in each if answer for one in answer]
        if kept is None or len(kept) < len(keys):
            return None
        return b"-".join(kept).decode("ascii", "replace")

    def _local_generation(self, group: str) -> str:
        kept = self._local.get_many(_generation_key(EVERYTHING), _generation_key(group))
        return b"-".join((b"local", *(name or b"first" for name in kept))).decode()

    def _send_evictions(self) -> bool:
        """Evict in Redis what was evicted here; whether that is done."""
        shared = self._shared
        assert shared is not None  # noqa: S101 - both callers looked
        for group in tuple(self._unsent):
            key, name = _generation_key(group), _new_generation()
            if self._ask(key, lambda: shared.set(key, name, _GENERATION_SECONDS)) is None:  # noqa: B023
                return False
            self._unsent.discard(group)
        return True

    def _ask(self, key: str, ask: Callable[[], Result]) -> Result | None:
        """Ask Redis about `key`; None while it is away."""
        return self._breaker.ask(ask, place_of(self._client, _PREFIX + key))

    def _once(self, place: str, work: Callable[[], CachedAnswer]) -> CachedAnswer:
        with self._lock:
            flight = self._flights.get(place)
            leads = flight is None
            if flight is None:
                flight = self._flights[place] = _Flight()
        if not leads:
            return flight.wait() or work()
        try:
            flight.answer = work()
            return flight.answer
        except Exception as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[place]
            flight.done.set()


@dataclass(frozen=True, slots=True)
class _Lookup:
    place: str
    life_seconds: int
    shared: bool


class _Flight:
    """One computation that others wait for."""

    __slots__ = ("answer", "done", "error")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.answer: CachedAnswer | None = None
        self.error: Exception | None = None

    def wait(self) -> CachedAnswer | None:
        """Its answer; None if it came to no end."""
        self.done.wait(_FLIGHT_SECONDS)
        if self.error is not None:
            raise self.error
        return self.answer


class _Bytes(BaseSerializer):
    """Values are bytes already. The default would unpickle, which runs what somebody planted."""

    def dumps(self, value: bytes, *_args: Any, **_kwargs: Any) -> bytes:
        return value

    def loads(self, bvalue: bytes | None) -> bytes | None:
        return bvalue


def answer_response(answer: CachedAnswer) -> Response:
    """The answer as JSON, or 304 where the client holds it already (RFC 9110 section 13.1.2)."""
    if request.if_none_match.contains_weak(answer.etag):
        response = Response(status=304)
    else:
        response = Response(answer.body, content_type=JSON)
    response.set_etag(answer.etag)
    left = math.ceil(answer.expires_at - time.time())
    response.headers["Cache-Control"] = f"private, max-age={max(0, min(left, _CLIENT_SECONDS))}"
    # Two keys in one browser ask the same address about two workspaces.
    response.headers["Vary"] = "Authorization, X-Api-Key"
    return response


def _answer(body: bytes, life_seconds: int) -> CachedAnswer:
    return CachedAnswer(body, _digest(body), time.time() + life_seconds)


def _digest(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def _pack(answer: CachedAnswer) -> bytes:
    return f"{answer.etag} {answer.expires_at:.3f}\n".encode() + answer.body


def _unpack(kept: bytes, life_seconds: int) -> CachedAnswer | None:
    """The kept answer, unless it is damaged or, by our clock, over."""
    head, _, body = kept.partition(b"\n")
    try:
        etag, expires = head.decode("ascii").split(" ")
        expires_at = float(expires)
    except ValueError:
        return None
    now = time.time()
    if etag != _digest(body) or not now < expires_at <= now + life_seconds + 1:
        return None
    return CachedAnswer(body, etag, expires_at)


def _generation_key(group: str) -> str:
    return f"generation:{group}"


def _new_generation() -> bytes:
    return secrets.token_hex(8).encode()


def _local_config(entries: int) -> dict[str, Any]:
    return {
        "CACHE_TYPE": "SimpleCache",
        "CACHE_THRESHOLD": entries,
        "CACHE_SERIALIZER": _Bytes,
    }


def _generations(client: redis.Redis, keys: list[str]) -> list[bytes] | None:
    """What these keys hold, or begin to hold; of a cluster they are of one hash slot.

    Not by Flask-Caching: it adds a key and its life in two steps, and a key without a life stays.
    """
    names = [_PREFIX + key for key in keys]
    kept = cast(list[bytes | None], client.mget(names))
    if None in kept:
        for name in names:
            client.set(name, _new_generation(), nx=True, ex=_GENERATION_SECONDS)
        kept = cast(list[bytes | None], client.mget(names))
    found = [name for name in kept if name is not None]
    return found if len(found) == len(keys) else None


def _shared_config(client: redis.Redis) -> dict[str, Any]:
    return {
        "CACHE_TYPE": "RedisCache",
        "CACHE_REDIS_HOST": client,
        "CACHE_KEY_PREFIX": _PREFIX,
        "CACHE_SERIALIZER": _Bytes,
    }
