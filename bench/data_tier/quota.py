"""Gives each server a share of a core, as if it stood on a small machine of its own.

On one machine all servers share the cores: two of them can do no more together than one. With a
quota of CPU for each they can, as on machines of their own. It is kept as the kernel's own (CFS
bandwidth control) keeps it, which takes rights that few have: whoever has used up what is due to it
in this period is stopped (SIGSTOP) until the next.

    python -m bench.data_tier.quota SHARE PROCESS...        until its standard input ends
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.data_tier.servers import cpu_seconds, processes_of

_PERIOD_SECONDS = 0.05
_LOOK_SECONDS = 0.002


@contextmanager
def quota(share: float, servers: Sequence[int]) -> Iterator[None]:
    """Let each server use no more than a share of one core meanwhile."""
    command = [sys.executable, "-m", "bench.data_tier.quota", str(share), *map(str, servers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as keeper:
        try:
            yield
        finally:
            assert keeper.stdin is not None  # noqa: S101 - it was asked for
            keeper.stdin.close()
            keeper.wait()


class _Server:
    """One server, and what it may still use."""

    def __init__(self, process: int, share: float) -> None:
        self._process = process
        self._share = share
        self._used = cpu_seconds(process)
        self._left = 0.0
        self._stopped: list[int] = []

    def begin_period(self) -> None:
        """Let it go on; what it used too much in the last period, it has less in this one."""
        due = self._share * _PERIOD_SECONDS
        self._left = min(self._left + due, due)
        if self._left > 0:
            self.go_on()

    def look(self) -> None:
        """Stop it if it has nothing left."""
        used = cpu_seconds(self._process)
        self._left -= used - self._used
        self._used = used
        if self._left <= 0 and not self._stopped:
            self._stopped = processes_of(self._process)
            _signal(self._stopped, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        _signal(self._stopped, signal.SIGCONT)
        self._stopped = []


def _signal(processes: Sequence[int], number: int) -> None:
    for process in processes:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


def main() -> None:
    """Keep the quota until nobody wants it any more."""
    share, *processes = sys.argv[1:]
    servers = [_Server(int(process), float(share)) for process in processes]
    period_ends = 0.0
    try:
        while not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
            now = time.monotonic()
            if now >= period_ends:
                period_ends = now + _PERIOD_SECONDS
                for server in servers:
                    server.begin_period()
            for server in servers:
                server.look()
    finally:
        for server in servers:
            server.go_on()


if __name__ == "__main__":
    main()
