"""Signs of life of the processes that nobody can ask over HTTP: a small file that each touches.

The file is locked for as long as its process lives, however that ends, and holds for how long it
may stay untouched while all is well. So a process that died, one that hangs and one that has much
to do are told apart, without a word from any of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from api.core.living import is_held, opened

log = logging.getLogger(__name__)

FOLDER = "alive"
_EACH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Beat:
    """The last sign of a process of this host."""

    kind: str
    pid: int
    age_seconds: float
    patience_seconds: float

    @property
    def is_late(self) -> bool:
        """Whether it hangs, or is frozen."""
        return self.age_seconds > self.patience_seconds


class Heartbeat:
    """The file of this process. Call it from the loop that must go on; it touches the file once a
    second. Where nothing can be written the process goes on, and nobody sees that it lives."""

    def __init__(self, home: Path, kind: str, patience_seconds: float) -> None:
        """`patience_seconds` is the longest that the loop may take once round."""
        self._kind = kind
        self._patience_seconds = patience_seconds
        self._folder = home / FOLDER
        self._path = self._folder / f"{kind}.{_host()}.{os.getpid()}"
        self._file = -1
        self._due = 0.0

    def start(self) -> None:
        """Begin to be seen."""
        try:
            self._open()
        except OSError as error:
            log.warning("nobody will see that this process lives: %s", error)

    def __call__(self) -> None:
        """Live on."""
        now = time.monotonic()
        if now >= self._due and self._file >= 0:
            self._due = now + _EACH_SECONDS
            with contextlib.suppress(OSError):
                if os.fstat(self._file).st_nlink == 0:  # somebody tidied up
                    os.close(self._file)
                    self._open()
                os.utime(self._file)

    def stop(self) -> None:
        """End in order: nobody is to look for this process any more."""
        if self._file >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.glob(f"{self._kind}.{_host()}.*"):
            _clear_dead(path)
        # Locked before it has the name by which others look for it.
        draft = self._path.with_name(f".{self._path.name}")
        self._file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        os.write(self._file, orjson.dumps({"patience_seconds": self._patience_seconds}))
        draft.rename(self._path)


def read_beats(home: Path, kind: str = "*") -> list[Beat]:
    """The processes of this host that live, by their ids; a shared folder has others', too."""
    beats = []
    for path in (home / FOLDER).glob(f"{kind}.{_host()}.*"):
        with contextlib.suppress(OSError, ValueError, KeyError):  # it went meanwhile
            if (beat := _read(path)) is not None:
                beats.append(beat)
    return sorted(beats, key=lambda beat: beat.pid)


def _read(path: Path) -> Beat | None:
    with opened(path) as file:
        if not is_held(file):
            return None
        age = max(time.time() - os.fstat(file).st_mtime, 0.0)
        told = orjson.loads(os.pread(file, 1000, 0))
        kind, _, pid = path.name.split(".")
        return Beat(kind, int(pid), round(age, 1), float(told["patience_seconds"]))


def _clear_dead(path: Path) -> None:
    with contextlib.suppress(OSError), opened(path) as file:
        if not is_held(file):
            path.unlink(missing_ok=True)


def _host() -> str:
    """Who we are among those that share a folder: in a container its name."""
    return socket.gethostname().replace("/", "_").replace(".", "_") or "host"
