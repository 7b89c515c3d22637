"""The spool where requests are traced: a segment knows whose clicks it holds."""

from __future__ import annotations

import contextlib
import os
import threading

from api.clicks.records import ClickRecord, OrphanRecord
from api.clicks.spool import Spool
from api.clicks.traces import with_room, written
from api.core.tracing.context import TraceContext
from api.core.tracing.spans import MOST_LINKS, sampled_context


class TracedSpool(Spool):
    """Notes the contexts of sampled requests in the header of the segment that has their clicks."""

    # A click and its context go into the same segment: nobody seals it in between.
    _make_lock = staticmethod(threading.RLock)

    def record(self, click: ClickRecord | OrphanRecord) -> None:
        """Write one click; see `Spool`."""
        context = sampled_context()
        if context is None or not self._pid:
            super().record(click)
            return
        with self._lock:
            was_open = self._descriptor >= 0
            if was_open:
                self._note(context)
            super().record(click)
            if not was_open and self._descriptor >= 0:
                self._note(context)

    def _header(self, segment_id: str, created_ms: int) -> bytes:
        header, self._room = with_room(super()._header(segment_id, created_ms))
        self._contexts: list[TraceContext] = []
        return header

    def _note(self, context: TraceContext) -> None:
        if len(self._contexts) >= MOST_LINKS:
            return
        self._contexts.append(context)
        # The spool's own descriptor appends, wherever it is told to write. Without the context the
        # click is as good as any other.
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, written(self._contexts), self._room)
            finally:
                os.close(descriptor)
