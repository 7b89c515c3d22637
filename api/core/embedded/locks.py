"""File locks that live exactly as long as the processes that hold them.

A server inherits the descriptor of its lock. The kernel lets go of the lock when the last process
that has the descriptor open is gone, so a free lock proves that nothing of an earlier start is
left: not the server, not one of its children, whatever ended them and whatever ids were used since.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path


class ProcessLock:
    """An exclusive lock on a file, which also names the process that holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The open file, for a child to inherit."""
        if self._descriptor is None:
            raise ValueError(f"{self._path} is not held")
        return self._descriptor

    def acquire(self) -> bool:
        """Take the lock if it is free; tell whether it is ours."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def name_holder(self, process_id: int) -> None:
        """Write down whom a later start may have to stop."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{process_id}\n".encode(), 0)

    def holder(self) -> int | None:
        """The process that was named last, or None."""
        try:
            return int(self._path.read_text())
        except (OSError, ValueError):
            return None

    def release(self) -> None:
        """Let go of our descriptor; a child that inherited it keeps the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def take_over(lock: ProcessLock, number: signal.Signals, grace_seconds: float) -> bool:
    """Acquire `lock`, stopping what an earlier start left behind; tell whether that worked.

    Only a process that provably still holds the lock is signalled, so an id that was given to
    another process since is never touched.
    """
    deadline = time.monotonic() + grace_seconds
    while not lock.acquire():
        holder = lock.holder()
        if holder is not None:
            _send(holder, number)
        if time.monotonic() > deadline:
            if number is signal.SIGKILL:
                return False
            return take_over(lock, signal.SIGKILL, 5)
        _wait_free(lock, min(5.0, grace_seconds))
    return True


def _wait_free(lock: ProcessLock, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not lock.acquire() and time.monotonic() < deadline:
        time.sleep(0.05)


def _send(process_id: int, number: signal.Signals) -> None:
    # If it is gone, its children, which hold the lock, notice that themselves.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, number)
