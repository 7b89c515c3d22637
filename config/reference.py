"""The settings as people read about them, taken from their declarations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from config.settings import GROUPS, Settings

_INTRODUCTION = """\
# Settings

Every setting is an environment variable, read once at the start. An empty value is as good as \
none; a wrong one stops the start with one line that names it. `scripts/settings --write` makes \
this page from `config/groups/`.
"""
_HEADER = """
| setting | default | meaning |
| --- | --- | --- |
"""
# Defaults that differ from machine to machine, or that the meaning tells.
_TOLD = frozenset({"autoscale_max_workers", "web_concurrency"})


def reference(group: type[Any] = Settings) -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of each setting, or of those of a group."""
    for item in fields(group):
        default = "" if item.name in _TOLD else _shown(item.default)
        yield item.name.upper(), default or "see there", item.metadata["meaning"]


def markdown() -> str:
    """The page."""
    return _INTRODUCTION + "".join(map(_section, GROUPS))


def _section(group: type[Any]) -> str:
    rows = (
        f"| `{name}` | {'' if default == 'see there' else f'`{default}`'} | {meaning} |\n"
        for name, default, meaning in reference(group)
    )
    return f"\n## {(group.__doc__ or '').rstrip('.')}\n{_HEADER}" + "".join(rows)


def _shown(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, tuple):
        return ",".join(default)
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)
