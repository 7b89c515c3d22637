"""A record of another service, with its fields found however an export spells their names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    """`Long URL`, `long_url` and `longUrl` are one name."""
    return "".join(filter(str.isalnum, name)).casefold()


class Record:
    """One link as another service tells of it."""

    __slots__ = ("_fields", "names")

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.names = tuple(fields)
        self._fields = {_plain(name): value for name, value in fields.items()}

    def get(self, *names: str) -> Any:
        """The first of these fields that says something; None where none does."""
        for name in names:
            value = self._fields.get(_plain(name))
            if value is not None and value != "":
                return value
        return None

    def has(self, name: str) -> bool:
        """Whether there is such a field, empty or not."""
        return _plain(name) in self._fields

    def inner(self, name: str) -> Record:
        """The object in a field; one without fields where there is none."""
        value = self._fields.get(_plain(name))
        return Record(value if isinstance(value, Mapping) else {})
