"""The rules of watching: who may watch what, and what a returning watcher is told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

from api.core.errors import Unavailable
from api.links.service import LinkService
from api.live.hub import LiveHub, gap
from api.live.messages import Subject
from api.live.streams import LiveStream, Peer

_CONFIRM_SECONDS = 2.0
# For browsers' own EventSource; spread by them, as all come back at once after a restart.
_RETRY_MILLISECONDS = 2_000
_IDENTIFIER = re.compile(r"([0-9]{13})-[0-9]{1,19}")


class LiveService:
    """Opens streams of clicks."""

    def __init__(self, links: LinkService, hub: LiveHub, *, hears: bool) -> None:
        """`hears`: whether clicks that are counted elsewhere arrive here."""
        self._links = links
        self._hub = hub
        self._hears = hears

    def watch(
        self,
        workspace: int,
        link_id: int | None,
        *,
        peer: Peer,
        allowed: Callable[[], bool],
        last_event_id: str | None,
    ) -> LiveStream:
        """A stream of the clicks of a link, or of all links, from now on.

        Raises:
            NotFound: the workspace has no such link.
            TooManyRequests: the workspace has as many streams as it may.
            Unavailable: clicks do not arrive here, or the process has as many streams as it may.
        """
        if link_id is not None:
            self._links.require(workspace, link_id)
        if not self._hears:
            raise Unavailable("Live clicks need Redis, which this installation does not have.", 60)
        subject = Subject(workspace, link_id)
        stream = self._hub.open(subject, peer, allowed)
        try:
            if not stream.confirmed.wait(_CONFIRM_SECONDS):
                raise Unavailable("Live clicks need Redis, which does not answer.", 5)
            stream.offer(f"retry: {_RETRY_MILLISECONDS}\n: live\n\n".encode())
            if last_event_id:
                stream.offer(_returned(subject, last_event_id))
        except BaseException:
            stream.close()
            raise
        return stream


def _returned(subject: Subject, last_event_id: str) -> bytes:
    """Nothing is kept for who was away, and they are told so."""
    now = time.time()
    match = _IDENTIFIER.fullmatch(last_event_id)
    seconds = int(match[1]) / 1000 if match else None
    since = None if seconds is None or seconds > now else datetime.fromtimestamp(seconds, UTC)
    return gap(subject, "returned", since=since, until=datetime.fromtimestamp(now, UTC))
