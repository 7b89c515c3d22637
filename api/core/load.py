"""How busy each worker process of this host is: a small file that it writes once a second.

A file holds counters at two moments, some seconds apart, so that whoever reads it once knows rates.
It is locked for as long as its process lives, however that ends: one that is not is a dead
worker's, and is taken away by whoever finds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from api.core.living import is_held, opened

_MAGIC = b"SPL1"
_HEAD = struct.Struct("<4s5I")
_COUNTERS = struct.Struct("<6q")
_SIZE = _HEAD.size + 2 * _COUNTERS.size
_WRITTEN_EACH_NS = 1_000_000_000


class Counters(NamedTuple):
    """What a process has counted until one moment, all in nanoseconds but `ticks`."""

    at: int  # of the monotonic clock, which all processes of a host share
    cpu: int
    queued: int  # ready to run while other processes had the cores; 0 where nothing tells it
    delay: int  # how late the event loop's timer was, in all
    ticks: int  # of that timer
    born: int  # when the process began to serve, by the same clock


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """One worker process, as it last told."""

    pid: int
    master: int
    connections: int
    in_flight: int  # connections whose request is being answered
    places: int  # connections that it takes at most
    before: Counters
    now: Counters

    @property
    def seconds(self) -> float:
        """What the rates are told of."""
        return (self.now.at - self.before.at) / 1e9

    @property
    def cpu_ratio(self) -> float:
        """Share of a core that it used."""
        return self._share(self.now.cpu - self.before.cpu)

    @property
    def starved_ratio(self) -> float:
        """Share of the time in which it could have run, had there been a core for it."""
        return self._share(self.now.queued - self.before.queued)

    @property
    def busy_ratio(self) -> float:
        """Share of the time in which it was not idle, or of its places that are taken."""
        taken = self.connections / self.places if self.places else 0.0
        return min(max(self.cpu_ratio + self.starved_ratio, taken), 1.0)

    def delay_seconds(self, now_ns: int) -> float:
        """How long what is ready waits for its turn in the event loop. A loop that is held up
        writes nothing: its silence counts, too."""
        ticks = self.now.ticks - self.before.ticks
        mean = (self.now.delay - self.before.delay) / ticks if ticks else 0.0
        silence = now_ns - self.now.at - 2 * _WRITTEN_EACH_NS
        return max(mean, silence, 0.0) / 1e9

    def age_seconds(self, now_ns: int) -> float:
        """For how long it serves."""
        return (now_ns - self.now.born) / 1e9

    def pack(self) -> bytes:
        """As it is in its file."""
        head = (self.pid, self.master, self.connections, self.in_flight, self.places)
        return _HEAD.pack(_MAGIC, *head) + _COUNTERS.pack(*self.before) + _COUNTERS.pack(*self.now)

    @classmethod
    def unpack(cls, data: bytes) -> Self | None:
        """What a file holds; None for a file that is another program's."""
        if len(data) != _SIZE or not data.startswith(_MAGIC):
            return None
        _, pid, master, connections, in_flight, places = _HEAD.unpack_from(data)
        before = Counters(*_COUNTERS.unpack_from(data, _HEAD.size))
        now = Counters(*_COUNTERS.unpack_from(data, _HEAD.size + _COUNTERS.size))
        return cls(pid, master, connections, in_flight, places, before, now)

    def _share(self, nanoseconds: int) -> float:
        span = self.now.at - self.before.at
        return min(max(nanoseconds / span, 0.0), 1.0) if span > 0 else 0.0


class LoadFile:
    """The file of this process, which is there with its lock or not at all."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / str(os.getpid())
        self._open()

    def write(self, load: WorkerLoad) -> None:
        """Tell how it is now. So few bytes are written, and read, at once."""
        if os.fstat(self._file).st_nlink == 0:  # somebody tidied up
            os.close(self._file)
            self._open()
        os.pwrite(self._file, load.pack(), 0)

    def close(self) -> None:
        """Tell nothing any more."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}")
        self._file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        draft.rename(self._path)


def read_loads(folder: Path, *, tidy: bool = True) -> list[WorkerLoad]:
    """The workers of this host that live, by age; those that have not told anything yet are left
    out. Not to `tidy` is to leave the files of dead ones."""
    loads = []
    for path in folder.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it went meanwhile
            load = _read(path, tidy)
            if load is not None:
                loads.append(load)
    return sorted(loads, key=lambda load: load.now.born)


def _read(path: Path, tidy: bool) -> WorkerLoad | None:
    with opened(path) as file:
        if is_held(file):
            return WorkerLoad.unpack(os.pread(file, _SIZE + 1, 0))
        if tidy:
            path.unlink(missing_ok=True)
        return None
