"""What the processes of a host count, in files of prometheus_client's multiprocess mode.

Each process writes what it has counted into files of its own, once a second, and whoever is asked
adds up those of all. The library would write at each single count, which costs 2 us and a lock; its
format, and how it adds up, are kept. A file is locked for as long as its process lives, however
that ends. What a dead process has counted is added to files that are nobody's, so that counters
never go back and files do not become ever more; its gauges go with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

_LOCK = "lock"
# Whose name is no process id: what dead processes have counted.
_NOBODY = "0"
_ADDED_UP = ("counter", "histogram", "summary")

_Key: TypeAlias = tuple[str, str, tuple[tuple[str, str], ...]]


class MetricFiles:
    """The files of this process, and the sum of all."""

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        """`registry` has what this process counts."""
        self._folder = folder
        self._registry = registry
        self._files: dict[str, Any] = {}
        self._keys: dict[_Key, str] = {}
        self._told: dict[_Key, float] = {}
        self._name = ""

    def open(self) -> None:
        """Begin to count, after what dead processes left is cleared away."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        clear_dead(self._folder)
        # One process may count twice: tests do.
        numbers = (f"{os.getpid()}-{number}" for number in range(1, 1_000))
        taken = {path.stem.rpartition("_")[2] for path in self._folder.glob("*.db")}
        self._name = next(name for name in (str(os.getpid()), *numbers) if name not in taken)
        self._file("counter")

    def write(self) -> None:
        """Tell what is counted by now."""
        for metric in self._registry.collect():
            kind = metric.type
            if kind == "gauge":
                kind = f"gauge_{getattr(metric, '_multiprocess_mode', 'livesum')}"
            samples = _not_added_up(metric) if kind == "histogram" else metric.samples
            for sample in samples:
                self._write(kind, metric, sample)

    def close(self) -> None:
        """Tell it for the last time."""
        if not self._name:
            return
        self.write()
        for file in self._files.values():
            file.close()
        self._files, self._told, self._name = {}, {}, ""
        clear_dead(self._folder)

    def _write(self, kind: str, metric: Metric, sample: Sample) -> None:
        key = (metric.name, sample.name, tuple(sample.labels.items()))
        if self._told.get(key) == sample.value:
            return
        self._told[key] = sample.value
        name = self._keys.get(key)
        if name is None:
            labels = sample.labels
            name = mmap_key(
                metric.name, sample.name, list(labels), list(labels.values()), metric.documentation
            )
            self._keys[key] = name
        self._file(kind).write_value(name, float(sample.value), 0.0)

    def _file(self, kind: str) -> Any:
        if kind not in self._files:
            path = self._folder / f"{kind}_{self._name}.db"
            # Whole and locked before it has the name by which others look for it.
            draft = path.with_suffix(".new")
            draft.unlink(missing_ok=True)
            file: Any = MmapedDict(str(draft))  # type: ignore[no-untyped-call]
            fcntl.flock(file._f, fcntl.LOCK_EX)
            draft.rename(path)
            self._files[kind] = file
        return self._files[kind]


class AllProcesses(Collector):
    """What all processes of the host have told, added up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As they told it last."""
        if not self._folder.is_dir():
            return
        clear_dead(self._folder)
        with _locked(self._folder, fcntl.LOCK_SH):
            collector: Any = MultiProcessCollector(None, str(self._folder))  # type: ignore[no-untyped-call]
            yield from collector.collect()


def clear_dead(folder: Path) -> None:
    """Add what dead processes have counted to what is nobody's, and take their files away."""
    if not any(_is_dead(path) for path in folder.glob("*.db")):
        return
    with _locked(folder, fcntl.LOCK_EX):
        for path in sorted(folder.glob("*.db")):
            if _is_dead(path):
                kind = path.name.partition("_")[0]
                if kind in _ADDED_UP:
                    _add_to_nobodys(folder, kind, path)
                path.unlink(missing_ok=True)


def clear_all(folder: Path) -> None:
    """Begin anew where no process counts: labels that nobody uses any more go."""
    if not folder.is_dir():
        return
    clear_dead(folder)
    with _locked(folder, fcntl.LOCK_EX):
        paths = list(folder.glob("*.db"))
        if all(_name_of(path) == _NOBODY for path in paths):
            for path in (*paths, folder / "generation"):
                path.unlink(missing_ok=True)


def _add_to_nobodys(folder: Path, kind: str, path: Path) -> None:
    place = folder / f"{kind}_{_NOBODY}.db"
    draft = place.with_suffix(".sum")
    draft.unlink(missing_ok=True)
    if place.exists():
        draft.write_bytes(place.read_bytes())
    total: Any = MmapedDict(str(draft))  # type: ignore[no-untyped-call]
    values: Any = MmapedDict
    for key, value, *_ in values.read_all_values_from_file(str(path)):
        total.write_value(key, total.read_value(key)[0] + value, 0.0)
    total.close()
    draft.rename(place)


def _name_of(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def _is_dead(path: Path) -> bool:
    """Whether a file is a process's that is not there any more."""
    if _name_of(path) == _NOBODY:
        return False
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def _not_added_up(metric: Metric) -> Iterator[Sample]:
    """The samples of a histogram as the files have them: each bucket by itself, and no count."""
    below = 0.0
    for sample in metric.samples:
        if sample.name.endswith("_bucket"):
            own = sample.value - below
            below = 0.0 if sample.labels["le"] == "+Inf" else sample.value
            yield sample._replace(value=own)
        elif sample.name.endswith("_sum"):
            yield sample


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, how)
        yield
    finally:
        os.close(file)
