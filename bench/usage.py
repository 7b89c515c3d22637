"""What processes use: seconds of CPU and peak memory, from /proc."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.1


def cpu_seconds(process_id: int) -> float:
    """CPU of a process, its children, and those children of its that have ended."""
    return sum(_cpu_of(one) for one in _tree(process_id))


@dataclass(frozen=True, slots=True)
class Memory:
    """What a tree of processes holds; `pss_bytes` counts a page that n of them share as 1/n, and
    `private_bytes` only those that nobody shares."""

    rss_bytes: int
    pss_bytes: int
    private_bytes: int


def memory_of(process_id: int) -> Memory:
    """The memory of a process and its children, now."""
    sizes = {"Rss": 0, "Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    for one in _tree(process_id):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                name, _, size = line.partition(":")
                if name in sizes:
                    sizes[name] += int(size.split()[0]) * 1024
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return Memory(sizes["Rss"], sizes["Pss"], private)


class PeakMemory:
    """Watches a tree of processes within a context; afterwards `bytes_by_kind` is the most that
    one process of each kind had, shared memory included."""

    def __init__(self, process_id: int) -> None:
        self.bytes_by_kind: dict[str, int] = {}
        self._process_id = process_id
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(_SAMPLE_SECONDS):
            for process_id in _tree(self._process_id):
                with contextlib.suppress(OSError):
                    self._note(process_id)

    def _note(self, process_id: int) -> None:
        folder = Path(f"/proc/{process_id}")
        found = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
        if found is None:
            return
        kind = kind_of((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        held = self.bytes_by_kind.get(kind, 0)
        self.bytes_by_kind[kind] = max(held, int(found[1]) * 1024)


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that was run to its end."""

    status: int
    output: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run_measured(command: Sequence[str], environ: Mapping[str, str], folder: Path) -> Ended:
    """Run a command to its end; answers what it printed and used."""
    before = os.times()
    with subprocess.Popen(
        command, env=dict(environ), cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = os.times().elapsed - before.elapsed
    cpu = usage.ru_utime + usage.ru_stime
    return Ended(process.returncode, output, seconds, cpu, usage.ru_maxrss * 1024)


def kind_of(command: str) -> str:
    """What a process of PostgreSQL is, by its title."""
    if not command.startswith("postgres: "):
        return "postmaster"
    title = re.sub(r"^postgres: (signpost: )?", "", command).strip()
    return "backend" if "[local]" in title or "127.0.0.1" in title else title.rstrip(" 0123456789")


def _tree(process_id: int) -> list[int]:
    found = [process_id]
    with contextlib.suppress(OSError):
        listed = Path(f"/proc/{process_id}/task/{process_id}/children").read_text()
        for child in listed.split():
            found += _tree(int(child))
    return found


def _cpu_of(process_id: int) -> float:
    try:
        text = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return 0.0
    # After the name, which may hold anything: utime, stime, cutime, cstime are 14 to 17 of all.
    return sum(map(int, text.rpartition(")")[2].split()[11:15])) / _TICKS
