"""Tells, beside what a process does, what it counts to whoever asks another process of its host."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from prometheus_client import CollectorRegistry

from api.core.metrics.files import MetricFiles

log = logging.getLogger(__name__)

_EACH_SECONDS = 1.0


class Sharing:
    """Writes the files of this process once a second between `start` and `stop`."""

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        self._folder = folder
        self._registry = registry
        self._lock = threading.Lock()
        self._files: MetricFiles | None = None

    def start(self) -> None:
        """Begin in this process; a forked server calls it after the fork."""
        self._stopped = threading.Event()
        files = MetricFiles(self._folder, self._registry)
        try:
            files.open()
        except OSError as error:
            log.warning("what this process counts is told to nobody: %s", error)
            return
        self._files = files
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def tell(self) -> bool:
        """Tell what is counted now; False where nothing can be told."""
        with self._lock:
            if self._files is None:
                return False
            self._files.write()
            return True

    def stop(self) -> None:
        """Tell it for the last time."""
        with self._lock:
            if self._files is not None:
                self._stopped.set()
                self._files.close()
                self._files = None

    def _run(self) -> None:
        failing = False
        while not self._stopped.wait(_EACH_SECONDS):
            try:
                self.tell()
                failing = False
            except OSError as error:
                # What cannot be told goes on to be counted.
                if not failing:
                    log.warning("what this process counts cannot be told: %s", error)
                failing = True
