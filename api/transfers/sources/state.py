"""What is kept on the disk of an import on its way: enough to go on after this process has died."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from api.transfers.sources.errors import Unreadable


@dataclass(slots=True, kw_only=True)
class State:
    """One import, as this side knows it."""

    key: str
    # Of a running service: how many rows were read, and what of them is not kept.
    marks: list[list[object]] = field(default_factory=list)
    # Of a file: how many rows were read, and a digest of them.
    notes: list[list[object]] = field(default_factory=list)
    # Once all is sent: what is not kept of it.
    not_kept: list[dict[str, Any]] = field(default_factory=list)


class StateFile:
    """The file of one import; which one, the command itself says."""

    def __init__(self, folder: Path, command: Mapping[str, Any]) -> None:
        text = json.dumps(command, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:12]
        self.path = folder / "imports" / f"{name}.json"

    def load(self) -> State | None:
        """What was kept; None if no such import was begun.

        Raises:
            Unreadable: the file is damaged.
        """
        try:
            return State(**json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            raise Unreadable(f"{self.path} is damaged: delete it to begin anew") from None

    def save(self, state: State) -> None:
        """Keep it; whoever dies meanwhile leaves what was kept before."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(state)))
        draft.replace(self.path)

    def forget(self) -> None:
        """The import has come to its end."""
        self.path.unlink(missing_ok=True)
