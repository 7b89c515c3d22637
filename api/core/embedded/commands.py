"""One of our own commands (the web server, the click consumer) as a supervised service."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from api.core.embedded import processes
from api.core.embedded.errors import EmbeddedError
from api.core.embedded.locks import ProcessLock, take_over


class CommandService:
    """A command that runs until SIGTERM, writing to `log`, else to our own output."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        folder: Path,
        lock: Path,
        grace_seconds: float,
        is_ready: Callable[[], bool] = lambda: True,
        log: Path | None = None,
    ) -> None:
        self._name = name
        self._arguments = arguments
        self._environ = environ
        self._folder = folder
        self._lock = ProcessLock(lock)
        self._grace_seconds = grace_seconds
        self._is_ready = is_ready
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """For people."""
        return self._name

    @property
    def process_id(self) -> int | None:
        """The id of its first process, while there is one."""
        return self._process.pid if self._process else None

    def take_over(self) -> None:
        """Stop what an earlier start of this command left running.

        Raises:
            EmbeddedError: it does not stop.
        """
        if not take_over(self._lock, signal.SIGTERM, self._grace_seconds):
            raise EmbeddedError(
                f"the {self._name} of an earlier start is running and does not stop"
            )

    def start(self) -> None:
        """Start the command, after what an earlier one left is gone."""
        self.take_over()
        self._process = processes.spawn(
            self._arguments,
            death_signal=signal.SIGTERM,
            log=self._log,
            environ=self._environ,
            folder=self._folder,
            inherit=[self._lock.descriptor],
        )
        self._lock.name_holder(self._process.pid)

    def ready(self) -> bool:
        """Whether it does its work."""
        return self._is_ready()

    def responds(self) -> bool:
        """It is trusted to end itself when it cannot go on; gunicorn's master watches its own."""
        return True

    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process else 0

    def complaint(self) -> str:
        """It speaks for itself, on our output or in its log."""
        return f"exit status {self.exit_status()}, see {self._log or 'above'}"

    def stop(self) -> None:
        """Ask it to finish, and take care that it is gone."""
        if self._process is not None:
            processes.stop(self._process, [(signal.SIGTERM, self._grace_seconds)])
        self._lock.release()
