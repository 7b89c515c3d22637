"""Records in JSON of any size: a list, pages of an API, or many of either one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import ijson

from api.transfers.sources.errors import Unreadable
from api.transfers.sources.records import Record

# A record has dozens; what has more is a document of another kind.
_MAX_EVENTS = 20_000


def read_json(stream: BinaryIO, pages: Sequence[str]) -> Iterator[Record]:
    """The objects below `pages` (paths as of ijson, `*` for each member of an object); where a
    document has none of these, the objects that it consists of.

    Raises:
        Unreadable: it is not JSON, or of no such form.
    """
    reader = _Reader(pages)
    try:
        for prefix, event, value in ijson.parse(stream, multiple_values=True, use_float=True):
            record = reader.take(prefix, event, value)
            if record is not None:
                yield record
    except ijson.JSONError as error:
        reason = " ".join(str(error).split())[:120]
        raise Unreadable(f"this is no whole JSON: {reason}") from None


class _Reader:
    """Puts together one object at a time out of the parser's events."""

    def __init__(self, pages: Sequence[str]) -> None:
        self._items = {page for page in pages if not page.endswith(".*")}
        self._members = tuple(page.removesuffix("*") for page in pages if page.endswith(".*"))
        self._holders = {page.rpartition(".")[0] for page in pages}
        self._root = ""
        # Where the object begins that is put together; None between objects.
        self._place: str | None = None
        self._builder = ijson.ObjectBuilder()
        self._events = 0

    def take(self, prefix: str, event: str, value: Any) -> Record | None:
        """The object that this event ends."""
        if self._place is None:
            self._look(prefix, event)
            return None
        if self._place == self._root and self._begins_page(prefix, event):
            # What looked like a record is a page of them.
            self._place = None
            return None
        self._builder.event(event, value)
        self._events += 1
        if self._events > _MAX_EVENTS:
            raise Unreadable("this holds something much larger than a link")
        if event != "end_map" or prefix != self._place:
            return None
        self._place = None
        return Record(self._builder.value)

    def _look(self, prefix: str, event: str) -> None:
        """Begin an object where one begins."""
        if prefix == "" and event in ("start_array", "start_map"):
            self._root = "item" if event == "start_array" else ""
        if event == "start_map" and (prefix == self._root or self._is_record(self._local(prefix))):
            self._place = prefix
            self._events = 0
            self._builder = ijson.ObjectBuilder()
            self._builder.event(event, None)

    def _local(self, prefix: str) -> str:
        """The path within a document of the list."""
        return prefix.removeprefix(self._root).removeprefix(".") if self._root else prefix

    def _begins_page(self, prefix: str, event: str) -> bool:
        return event in ("start_array", "start_map") and self._local(prefix) in self._holders

    def _is_record(self, path: str) -> bool:
        return path in self._items or any(
            path.startswith(start) and "." not in path[len(start) :] for start in self._members
        )
