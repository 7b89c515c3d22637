"""What docs/redis.md says of each key, and whether that is true of the keys that are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import redis

_TABLE = Path(__file__).resolve().parents[1] / "docs" / "redis.md"
_ROW = re.compile(
    r"^\| `(?P<one>[^`]+)` \| `(?P<cluster>[^`]+)` \| (?P<kind>\w+) \| (?P<seconds>[\d,]+) s \| "
    r"(?P<bytes>[\d,]+) \|",
    re.MULTILINE,
)


class Documented(NamedTuple):
    """A row of the table: a pattern, and the most that its keys may live and weigh."""

    pattern: str
    kind: str
    seconds: int
    size_bytes: int

    def names(self, key: str) -> bool:
        """Whether this is the row of a key, if no more exact one is."""
        parts = re.split(r"<\w+>", self.pattern)
        return re.fullmatch(".*".join(map(re.escape, parts)), key, re.DOTALL) is not None


def documented(column: str) -> list[Documented]:
    """The rows for `one` server or for a `cluster`, the most exact patterns first."""
    rows = [
        Documented(row[column], row["kind"], _number(row["seconds"]), _number(row["bytes"]))
        for row in _ROW.finditer(_TABLE.read_text(encoding="utf-8"))
    ]
    assert rows, "docs/redis.md has no table of keys"
    return sorted(rows, key=lambda row: -len(re.sub(r"<\w+>", "", row.pattern)))


def check_keys(client: redis.Redis, rows: list[Documented]) -> set[str]:
    """Walk all keys of a server, each of which must be as its row says; the patterns found."""
    found: set[str] = set()
    for name in client.scan_iter(count=1_000):
        key = name.decode(errors="replace")
        row = next((row for row in rows if row.names(key)), None)
        assert row is not None, f"{key} is not in docs/redis.md"
        life: Any = client.ttl(name)
        if life == -2:
            continue  # its life has ended since
        told = f"{key}: {client.type(name)}, {life} s, {client.memory_usage(name)} bytes"
        assert life != -1, f"{told}: has no life"
        assert life <= row.seconds, told
        size: Any = client.memory_usage(name, samples=0)
        if size is None:
            continue
        assert client.type(name).decode() == row.kind, told
        assert size <= row.size_bytes, told
        found.add(row.pattern)
    return found


def _number(text: str) -> int:
    return int(text.replace(",", ""))
