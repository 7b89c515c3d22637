"""Records in JSON of any size: a list, pages of an API, or many of either one after another."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO

import ijson

from api.transfers.sources.errors import Unreadable
from api.transfers.sources.records import Record

# What begins with so much that is neither a link nor a page of them is something else, and to put
# it together would take its whole size.
_HEAD_BYTES = 1 << 16
_OPTIONS: dict[str, Any] = {"multiple_values": True, "use_float": True}


def read_json(stream: BinaryIO, pages: Sequence[str]) -> Iterator[Record]:
    """The objects below one of `pages` (paths as of ijson, `*` for each member of an object); where
    a document has none of these, the objects that it consists of.

    Raises:
        Unreadable: it is not JSON, or of no such form.
    """
    head = stream.read(_HEAD_BYTES)
    path = _path_of(head, pages)
    whole = ijson.from_iter(chain((head,), iter(lambda: stream.read(_HEAD_BYTES), b"")))
    try:
        if path.endswith(".*"):
            members = ijson.kvitems(whole, path.removesuffix(".*"), **_OPTIONS)
            values = (value for _, value in members)
        else:
            values = ijson.items(whole, path, **_OPTIONS)
        for value in values:
            yield Record(value if isinstance(value, dict) else {})
    except ijson.JSONError as error:
        reason = " ".join(str(error).split())[:120]
        raise Unreadable(f"this is no whole JSON: {reason}") from None


def _path_of(head: bytes, pages: Sequence[str]) -> str:
    """Where the records are, by how a document begins."""
    holders = {(page.rpartition(".")[0], page.endswith(".*")): page for page in pages}
    root = ""
    try:
        for prefix, event, _ in ijson.parse(io.BytesIO(head), **_OPTIONS):
            if (prefix, event) == ("", "start_array"):
                root = "item"
            local = prefix.removeprefix(root).removeprefix(".") if root else prefix
            if event in ("start_array", "start_map"):
                page = holders.get((local, event == "start_map"))
                if page is not None:
                    return f"{root}.{page}" if root else page
            elif event in ("end_array", "end_map") and prefix in ("", root):
                return root
    except ijson.JSONError as error:
        if len(head) < _HEAD_BYTES:
            reason = " ".join(str(error).split())[:120]
            raise Unreadable(f"this is no whole JSON: {reason}") from None
    raise Unreadable("this begins with something much larger than a link")
