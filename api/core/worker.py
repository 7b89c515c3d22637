"""The gunicorn worker: gevent's, fair between connections and quick to stop."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import gevent
from gunicorn.workers.ggevent import GeventWorker

# An idle client may be sending its next request just now; after this, it is told to reconnect.
_LAST_REQUEST_SECONDS = 0.5


class Worker(GeventWorker):  # type: ignore[misc]
    """Ends the wait of kept connections when it stops, rather than wait for their clients."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: set[_Wait] = set()
        self.before_stop: Callable[[], None] = lambda: None

    def timeout_ctx(self) -> _Wait:
        """Around the wait for a connection's next request."""
        return _Wait(self)

    def run(self) -> None:
        """Serve until told to stop."""
        gevent.spawn(self._release_when_stopping)
        super().run()

    def _release_when_stopping(self) -> None:
        while self.alive:
            gevent.sleep(0.1)
        # Answers that would go on for ever; gunicorn waits for all answers.
        self.before_stop()
        gevent.sleep(_LAST_REQUEST_SECONDS)
        while True:
            for wait in list(self.waiting):
                wait.release()
            gevent.sleep(0.1)


class _Wait:
    """A wait for the next request, which ends with nothing after the keep-alive time."""

    __slots__ = ("_greenlet", "_release", "_timeout", "_worker")

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._release: Any = None

    def __enter__(self) -> Self:
        # gunicorn never yields while the next request is readable already: without this, one
        # busy connection holds up all others (400 ms at 32 connections).
        gevent.sleep(0)
        self._greenlet = gevent.getcurrent()
        self._timeout = gevent.Timeout.start_new(self._worker.cfg.keepalive)
        self._worker.waiting.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._worker.waiting.discard(self)
        self._timeout.close()
        if self._release is not None:
            self._release.stop()  # a request came in the same moment: serve it
        return error is self._timeout

    def release(self) -> None:
        """End the wait now, as if its time were over."""
        self._worker.waiting.discard(self)
        self._release = gevent.get_hub().loop.run_callback(self._greenlet.throw, self._timeout)
