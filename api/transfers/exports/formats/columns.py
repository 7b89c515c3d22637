"""Apache Parquet: columns in groups of rows, for tools that compute.

The only place that loads pyarrow.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from gevent import get_hub
from gevent.monkey import is_module_patched

from api.transfers.exports.kinds import Type

if TYPE_CHECKING:
    from api.transfers.exports.formats import End

# Readers want large groups; what is held of one is about a tenth of a kilobyte a row.
_ROWS_IN_GROUP = 50_000
_TYPES = {
    Type.TEXT: pa.string(),
    Type.INTEGER: pa.int64(),
    Type.BOOLEAN: pa.bool_(),
    Type.TIME: pa.timestamp("us", tz="UTC"),
    Type.TEXTS: pa.list_(pa.string()),
    Type.JSON: pa.string(),
}

Answer = TypeVar("Answer")


class Columns:
    """Rows as columns. A file ends with where its groups are: one that is cut off is none."""

    def __init__(self, fields: Sequence[str], types: Sequence[Type]) -> None:
        self._schema = pa.schema(
            [(name, _TYPES[kind]) for name, kind in zip(fields, types, strict=True)]
        )
        self._waiting: list[Any] = []
        self._rows = 0

    def begin(self) -> bytes:
        self._sink = _Sink()
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        return self._sink.take()

    def write(self, rows: Sequence[Sequence[Any]]) -> bytes:
        if rows:
            columns = list(zip(*rows, strict=True))[: len(self._schema)]
            arrays = [
                pa.array(column, type=field.type)
                for column, field in zip(columns, self._schema, strict=True)
            ]
            self._waiting.append(pa.record_batch(arrays, schema=self._schema))
            self._rows += len(rows)
        return self._flush() if self._rows >= _ROWS_IN_GROUP else b""

    def end(self, end: End) -> bytes:
        if not end.complete:
            return b""
        written = self._flush() if self._rows else b""
        self._writer.close()
        return written + self._sink.take()

    def _flush(self) -> bytes:
        table = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting, self._rows = [], 0
        _beside(lambda: self._writer.write_table(table, row_group_size=_ROWS_IN_GROUP))
        return self._sink.take()


class _Sink(io.RawIOBase):
    """A file of which everything is taken away as it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        """What was written since it was last asked."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _beside(work: Callable[[], Answer]) -> Answer:
    """Do what takes long, and lets others compute, in a thread of its own where others wait."""
    if is_module_patched("socket"):
        return get_hub().threadpool.apply(work)  # type: ignore[no-any-return]
    return work()
