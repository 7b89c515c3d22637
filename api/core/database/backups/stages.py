"""How far a backup or a restore is: for whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Stage(NamedTuple):
    """What it is at; bytes are those of tables or files, `total` 0 where that is not known."""

    step: str
    done: int = 0
    total: int = 0
    note: str = ""


OnStage = Callable[[Stage], object]
