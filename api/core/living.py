"""Files that a process keeps locked for as long as it lives, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def is_held(file: int) -> bool:
    """Whether a process that has locked this file lives."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """The file, to be read.

    Raises:
        FileNotFoundError: it went meanwhile.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)
