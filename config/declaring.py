"""How a setting is declared: its default, what kind of text it is read from, and its meaning."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from config import kinds


class SettingsError(Exception):
    """A setting has a value that cannot be used; the message names it in one line."""


def setting(default: Any, kind: kinds.Kind, meaning: str) -> Any:
    """A field with this default, read from text by `kind`."""
    return field(default=default, metadata={"kind": kind, "meaning": meaning})


def integer(default: int, meaning: str, low: int = 0, high: int | None = None) -> Any:
    """A whole number from `low` to `high`."""
    return setting(default, kinds.integer(low, high), meaning)


def seconds(default: float, meaning: str) -> Any:
    """A duration above zero."""
    return setting(default, kinds.seconds(), meaning)


def flag(default: bool, meaning: str) -> Any:
    """Yes or no."""
    return setting(default, kinds.flag, meaning)
