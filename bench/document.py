"""Puts figures between two marks of a document, and nothing else."""

from __future__ import annotations

from pathlib import Path

from api.core.embedded.errors import EmbeddedError

_BEGIN = "<!-- Written by scripts/bench --write: changes up to the end mark are lost. -->"
_END = "<!-- The end of what scripts/bench writes. -->"


def replace_figures(path: Path, figures: str) -> None:
    """Replace what stands between the marks.

    Raises:
        EmbeddedError: the marks are not there.
    """
    before, begin, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise EmbeddedError(f"{path} has no marks between which figures belong: {_BEGIN}")
    path.write_text(f"{before}{begin}\n{figures}{end}{after}")
