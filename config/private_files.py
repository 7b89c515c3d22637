"""Files that only their owner may read: secrets and keys, there as a whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def make_once(path: Path, text: str) -> None:
    """Write `text` to `path` where there is no file; of two that race the first one's stays."""
    draft = _draft(path, text)
    try:
        os.link(draft, path)  # unlike a rename, fails where another process was first
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path`, in place of what is there."""
    _draft(path, text).replace(path)


def _draft(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    # Of a process that died and whose id we have now; what is there may be others' to read.
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    return draft
