"""Advisory locks of a shard that more than one module takes; the numbers are ours alone."""

from __future__ import annotations

# Held by whoever replaces counts by others that say the same, or changes how far that has come.
REWRITING_COUNTS = 0x63_6F_75_6E_74_73
