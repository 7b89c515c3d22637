"""What an unfinished file was asked for, kept beside it: rows of two exports make no file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


class Note:
    """The note of one FILE.part: options as the command has them, with their values."""

    def __init__(self, part: Path, options: Mapping[str, Any]) -> None:
        self._path = part.with_name(f"{part.name}.asked")
        self._options = dict(options)

    def save(self) -> None:
        self._path.write_text(json.dumps(self._options))

    def forget(self) -> None:
        """The file is whole, or nothing came."""
        self._path.unlink(missing_ok=True)

    def differences(self) -> list[str] | None:
        """Which options were others when the file was begun; None if nobody knows."""
        then = None
        with suppress(FileNotFoundError, ValueError):
            then = json.loads(self._path.read_text())
        if not isinstance(then, dict):
            return None
        return [
            f"{name} was {_shown(then.get(name))} and is {_shown(self._options.get(name))}"
            for name in self._options | then
            if then.get(name) != self._options.get(name)
        ]


def _shown(value: Any) -> str:
    """On one line, whatever it holds."""
    return json.dumps(value, ensure_ascii=False) if value else "not given"
