"""The minutes that this host knows of itself: a small file each, in a folder of `SIGNPOST_HOME`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from api.operations.status.figures import Figures, add

KEPT_MINUTES = 120


class MinuteFiles:
    """Written by the one process that samples, read by every process that shows the page."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, minute: int, figures: Figures) -> None:
        """Add to a minute, and forget those of long ago.

        Raises:
            OSError: the disk refuses.
        """
        held = self._read(minute) or {}
        add(held, figures)
        write_json(self._path(minute), held)
        for path in self._folder.glob("[0-9]*.json"):
            if int(path.stem) <= minute - KEPT_MINUTES:
                path.unlink(missing_ok=True)

    def read(self, minutes: Sequence[int]) -> list[Figures | None]:
        """What is known of each; None where nothing was sampled."""
        return [self._read(minute) for minute in minutes]

    def knows(self, minute: int) -> bool:
        """Whether anything was sampled in it."""
        return self._path(minute).exists()

    def _read(self, minute: int) -> Figures | None:
        return read_json(self._path(minute))

    def _path(self, minute: int) -> Path:
        return self._folder / f"{minute}.json"


def read_json(path: Path) -> Figures | None:
    """Numbers by name; None where there are none, or where others have written."""
    with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
        held = orjson.loads(path.read_bytes())
        return {str(name): float(value) for name, value in held.items()}
    return None


def write_json(path: Path, figures: Figures) -> None:
    """Put numbers in place of what is there, as a whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(orjson.dumps(figures))
    draft.replace(path)
