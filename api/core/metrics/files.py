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
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, _read_all_values, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from api.core.living import is_held, opened

_LOCK = "lock"
# Whose name is no process id: what dead processes have counted.
_NOBODY = "0"
# Beside the sum, while something is added: which file the sum is in, and what was added.
_ADDING = ".adding"
# Of what is read without a pause.
_VALUES_A_TURN = 200
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
        self._gauges: dict[str, set[_Key]] = {}
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
        metrics = list(self._registry.collect())
        self._forget_gauges(metrics)
        for metric in metrics:
            kind = _kind_of(metric)
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
        self._files, self._told, self._gauges, self._name = {}, {}, {}, ""
        clear_dead(self._folder)

    def _forget_gauges(self, metrics: Sequence[Metric]) -> None:
        """Begin a file of gauges anew when one of them is not known any more: nothing can be taken
        out of it, and the last that was known would be told for ever."""
        known: dict[str, set[_Key]] = {}
        for metric in metrics:
            if metric.type == "gauge":
                keys = known.setdefault(_kind_of(metric), set())
                keys.update(_key_of(metric, sample) for sample in metric.samples)
        for kind, before in self._gauges.items():
            if before - known.get(kind, set()) and kind in self._files:
                self._path(kind).unlink(missing_ok=True)
                self._files.pop(kind).close()
                for key in before:
                    self._told.pop(key, None)
        self._gauges = known

    def _write(self, kind: str, metric: Metric, sample: Sample) -> None:
        key = _key_of(metric, sample)
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
            path = self._path(kind)
            # Whole and locked before it has the name by which others look for it.
            draft = path.with_suffix(".new")
            draft.unlink(missing_ok=True)
            file: Any = MmapedDict(str(draft))  # type: ignore[no-untyped-call]
            fcntl.flock(file._f, fcntl.LOCK_EX)
            draft.rename(path)
            self._files[kind] = file
        return self._files[kind]

    def _path(self, kind: str) -> Path:
        return self._folder / f"{kind}_{self._name}.db"


class AllProcesses(Collector):
    """What all processes of the host have told, added up by the library's rules."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> list[Metric]:
        """Nothing in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """As they told it last. It takes tens of milliseconds, in which others have their turn."""
        if not self._folder.is_dir():
            return
        clear_dead(self._folder)
        rules: Any = MultiProcessCollector
        for metric in _parse(read_files(self._folder)).values():
            time.sleep(0)
            yield from rules._accumulate_metrics({metric.name: metric}, True)


def read_files(folder: Path) -> dict[str, bytes]:
    """The files of one moment by their names: nothing is added up meanwhile. Without a pause,
    as who comes in between would wait for a lock that this process has."""
    with _locked(folder, fcntl.LOCK_SH):
        found = {}
        for path in sorted(folder.glob("*.db")):
            with contextlib.suppress(FileNotFoundError):
                found[path.stem] = path.read_bytes()
    return found


def _parse(files: dict[str, bytes]) -> dict[str, Metric]:
    """The samples of each metric, as `MultiProcessCollector` reads them."""
    metrics: dict[str, Any] = {}
    for stem, data in files.items():
        kind, *how = stem.split("_")
        for number, (key, value, moment, _) in enumerate(read_values(data)):
            if number % _VALUES_A_TURN == 0:
                time.sleep(0)
            metric_name, name, labels, meaning = json.loads(key)
            metric: Any = metrics.get(metric_name)
            if metric is None:
                metric = metrics[metric_name] = Metric(metric_name, meaning, kind)
            found = tuple(sorted(labels.items()))
            if kind == "gauge":
                metric._multiprocess_mode, pid = how
                metric.add_sample(name, (*found, ("pid", pid)), value, moment)
            else:
                metric.add_sample(name, found, value)
    return metrics


def read_values(data: bytes) -> Iterator[tuple[str, float, float, int]]:
    """What is in a file: keys, values, moments and places.

    Raises:
        RuntimeError, ValueError, struct.error: it is no file of ours.
    """
    read: Any = _read_all_values
    yield from read(data)


def clear_dead(folder: Path) -> None:
    """Add what dead processes have counted to what is nobody's, and take their files away."""
    if not any(_is_dead(path) for path in folder.glob("*.db")):
        return
    with _locked(folder, fcntl.LOCK_EX):
        _finish_adding(folder)
        for path in sorted(folder.glob("*.db")):
            if _is_dead(path):
                kind = path.name.partition("_")[0]
                if kind in _ADDED_UP:
                    _add_to_nobodys(folder, kind, path)
                else:
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
    # Who is killed between the two steps must not have it added again.
    note = folder / f"{kind}{_ADDING}"
    note.write_text(f"{draft.stat().st_ino} {path.name}")
    draft.rename(place)
    path.unlink(missing_ok=True)
    note.unlink()


def _finish_adding(folder: Path) -> None:
    """Take away what somebody had added to what is nobody's, and was killed before it was away."""
    for note in folder.glob(f"*{_ADDING}"):
        file, _, name = note.read_text().partition(" ")
        place = folder / f"{note.name.removesuffix(_ADDING)}_{_NOBODY}.db"
        if name and place.exists() and str(place.stat().st_ino) == file:
            (folder / name).unlink(missing_ok=True)
        note.unlink()


def _kind_of(metric: Metric) -> str:
    if metric.type != "gauge":
        return metric.type
    return f"gauge_{getattr(metric, '_multiprocess_mode', 'livesum')}"


def _key_of(metric: Metric, sample: Sample) -> _Key:
    return metric.name, sample.name, tuple(sample.labels.items())


def _name_of(path: Path) -> str:
    return path.stem.rpartition("_")[2]


def _is_dead(path: Path) -> bool:
    """Whether a file is a process's that is not there any more."""
    if _name_of(path) == _NOBODY:
        return False
    try:
        with opened(path) as file:
            return not is_held(file)
    except FileNotFoundError:
        return False


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
