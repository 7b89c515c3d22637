"""By which names people know the actors of the log, where their credentials do not tell."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from api.core.errors import DomainError
from api.core.events import Thing

# The name of whom an id stands for, None for nobody.
NameSource = Callable[[str], str | None]

# For so long an old name is told.
_LIFE_SECONDS = 60.0
_MAX_NAMES = 10_000


class Names:
    """Asks the modules to which the kinds of actors belong, and remembers for a minute."""

    def __init__(self) -> None:
        self._sources: dict[str, NameSource] = {}
        self._known: OrderedDict[tuple[str, str], tuple[str | None, float]] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, kind: str, source: NameSource) -> None:
        """Ask `source` for the names of a kind of actors."""
        self._sources[kind] = source

    def of(self, actor: Thing) -> str | None:
        """The name of an actor; None where nobody knows it now."""
        source = self._sources.get(actor.kind)
        if actor.name is not None or actor.id is None or source is None:
            return actor.name
        place = actor.kind, actor.id
        known = self._known.get(place)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        try:
            name = source(actor.id)
        except DomainError:  # the directory is away: the id is told
            return None
        with self._lock:
            self._known[place] = name, time.monotonic() + _LIFE_SECONDS
            self._known.move_to_end(place)
            if len(self._known) > _MAX_NAMES:
                self._known.popitem(last=False)
        return name
