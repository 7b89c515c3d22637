"""Puts figures between two marks of a document, and nothing else."""

from __future__ import annotations

from pathlib import Path

from api.core.embedded.errors import EmbeddedError

_BEGIN = "<!-- Written by {by} --write: changes up to the end mark are lost. -->"
_END = "<!-- The end of what {by} writes. -->"


def replace_figures(path: Path, figures: str, by: str = "scripts/bench") -> None:
    """Replace what stands between the marks of a bench.

    Raises:
        EmbeddedError: the marks are not there.
    """
    mark = _BEGIN.format(by=by)
    before, begin, rest = path.read_text().partition(mark)
    _, end, after = rest.partition(_END.format(by=by))
    if not begin or not end:
        raise EmbeddedError(f"{path} has no marks between which figures belong: {mark}")
    path.write_text(f"{before}{begin}\n{figures}{end}{after}")
