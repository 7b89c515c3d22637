"""Tells web processes of clicks that were counted, when somebody is watching.

It fails open: whatever happens here, clicks are counted. Redis away costs one short timeout every
few seconds, and watchers are told by their own process that they miss something.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence

import redis
from redis.exceptions import RedisError

from api.clicks.enriched import EnrichedClick
from api.core.breaker import redis_dependency
from api.core.redis_clients import channels_of, make_redis, publish_each
from api.live.messages import CHANNELS, MAX_CLICKS, Subject, channel_of, subject_of, write_message

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 0.25
_RETRY_SECONDS = 5.0
# In one batch, to all watchers together: telling of a click costs 4 µs, counting it may take 20.
_MOST_TOLD = 2_000


class LivePublisher:
    """Publishes clicks to those who watch; used by one thread."""

    def __init__(self, redis_url: str | None) -> None:
        self._client = make_redis(redis_url, _TIMEOUT_SECONDS) if redis_url else None
        self._found = redis_dependency(redis_url or "")
        self._found.without("nobody is told of clicks as they come")
        self._away_until = 0.0

    def publish(self, clicks: Sequence[EnrichedClick]) -> None:
        """Tell of a batch of clicks that is committed."""
        if self._client is None or time.monotonic() < self._away_until:
            return
        try:
            self._publish(self._client, clicks)
        except (RedisError, OSError) as error:
            self._away_until = time.monotonic() + _RETRY_SECONDS
            self._found.failed(error)
            return
        except Exception:
            log.exception("nobody was told of %s clicks", len(clicks))
        else:
            self._found.answered()

    def _publish(self, client: redis.Redis, clicks: Sequence[EnrichedClick]) -> None:
        watched = _watched(client)
        if not watched:
            return
        for click in clicks:
            # Most workspaces have no watcher: for them it ends here, in 50 ns.
            links = watched.get(click.workspace_id)
            if links is None:
                continue
            if None in links:
                links[None].append(click)
            if click.link_id in links:
                links[click.link_id].append(click)
        told = [
            (Subject(workspace, link), part)
            for workspace, links in watched.items()
            for link, part in links.items()
            if part
        ]
        if told:
            most = max(1, min(MAX_CLICKS, _MOST_TOLD // len(told)))
            messages = [(channel_of(subject), write_message(part, most)) for subject, part in told]
            publish_each(client, messages)


def _watched(client: redis.Redis) -> dict[int, dict[int | None, list[EnrichedClick]]]:
    """The workspaces with watchers, and of each the links that are watched (None: all links), with
    room for their clicks.

    It is one command, asked anew for each batch: whoever begins to watch misses nothing, and
    nobody watching costs nothing more.
    """
    watched: defaultdict[int, dict[int | None, list[EnrichedClick]]] = defaultdict(dict)
    for name in channels_of(client, CHANNELS):
        subject = subject_of(str(name, "utf-8", "replace") if isinstance(name, bytes) else name)
        if subject is not None:
            watched[subject.workspace][subject.link] = []
    return watched
