"""The object of the client's own that a link carries: its bounds, and how it is patched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

MAX_NAMES = 50
MAX_SIZE_BYTES = 16_384
MAX_DEPTH = 5


def complaint(content: Mapping[str, Any]) -> str | None:
    """What is wrong with `content` as metadata, None if nothing is."""
    if len(content) > MAX_NAMES:
        return f"More than {MAX_NAMES} names."
    if _depth(content) > MAX_DEPTH:
        return f"Nested deeper than {MAX_DEPTH} levels."
    if len(orjson.dumps(content)) > MAX_SIZE_BYTES:
        return f"Larger than {MAX_SIZE_BYTES // 1024} KiB."
    return None


def merge_patch(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Merge Patch of an object (RFC 7396 section 2)."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            inner = merged.get(name)
            merged[name] = merge_patch(inner if isinstance(inner, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def _depth(value: Any) -> int:
    """Levels of objects and lists; level by level, as the deepest that a client can send would
    exhaust the stack."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner: list[Any] = []
        for item in level:
            inner += item.values() if isinstance(item, Mapping) else item
        level = [item for item in inner if isinstance(item, Mapping | list)]
    return depth
