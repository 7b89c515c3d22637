"""What is answered within one turn of the event loop: its clicks in one write, then its answers.

A visitor is answered after their click is written, as anywhere else. But the requests that were
readable at the same moment share the write, which would be a third of the cost of each.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import gevent

log = logging.getLogger(__name__)


# Told of the answers of a turn, and how long after its first request they left.
NoteTurn: TypeAlias = Callable[[list[tuple[Any, bytes]], float], None]


class Turn:
    """Collects clicks and answers; to be used by the greenlets of one event loop."""

    def __init__(self, write: Callable[[bytes, int], None], note: NoteTurn | None = None) -> None:
        """`write` takes lines of clicks, and how many they are; `note` is told of each turn."""
        self._write = write
        self._note = note
        self._began = 0.0
        self._run_callback = gevent.get_hub().loop.run_callback
        self._lines: list[bytes] = []
        self._answers: list[tuple[Any, bytes]] = []
        self._unsent: dict[Any, gevent.Greenlet] = {}

    def add(self, client: Any, line: bytes, answer: bytes) -> None:
        """Send `answer` once `line` is written, before the loop looks for what is readable next."""
        if not self._lines:
            self._run_callback(self.flush)
            if self._note is not None:
                self._began = time.perf_counter()
        self._lines.append(line)
        self._answers.append((client, answer))

    def flush(self) -> None:
        """Write and send what was added."""
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        answers, self._answers = self._answers, []
        try:
            self._write(b"".join(lines), len(lines))
        except OSError as error:
            # The visitors go on: the spool has counted the loss, fails readiness and tells of it.
            log.debug("clicks could not be recorded: %s", error)
        except Exception as error:
            # Such as a spool that is closed, as its process ends: nothing has counted these clicks,
            # so nobody is answered.
            log.warning("%d visitors are cut off: %s", len(answers), error)
            for client, _ in answers:
                _cut_off(client)
            return
        for client, answer in answers:
            self._send(client, answer)
        if self._note is not None:
            self._note(answers, time.perf_counter() - self._began)

    def settle(self, client: Any) -> None:
        """Wait until a slow reader has all of its answer: the next must not overtake it."""
        sending = self._unsent.get(client)
        if sending is not None:
            sending.join()

    def _send(self, client: Any, answer: bytes) -> None:
        try:
            # The socket beneath gevent's, which does not wait: nothing may, within the loop.
            sent = client._sock.send(answer)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # who asked is gone, as the read of the next request finds out
        if sent < len(answer):
            self._unsent[client] = gevent.spawn(self._send_rest, client, answer[sent:])

    def _send_rest(self, client: Any, rest: bytes) -> None:
        try:
            client.sendall(rest)
        except OSError:
            log.debug("a visitor went away before the answer")
        finally:
            self._unsent.pop(client, None)


def _cut_off(client: Any) -> None:
    """End a connection; whoever reads from it finds its end."""
    try:
        client._sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("a visitor is gone already")
