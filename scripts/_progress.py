"""A bar on stderr for backups and restores: one step after the other."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from api.core.database.backups.stages import OnStage, Stage


def end_orderly() -> None:
    """Take SIGTERM as Ctrl-C: what is half done is taken away."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


@contextmanager
def progress(label: str) -> Iterator[OnStage]:
    """Draw what it is at."""
    shown = [""]
    with click.progressbar(
        length=1000, label=label, file=sys.stderr, item_show_func=lambda _: shown[0]
    ) as bar:

        def on_stage(stage: Stage) -> None:
            shown[0] = ", ".join(filter(None, (stage.step, stage.note)))
            bar.pos = min(1000 * stage.done // stage.total, 1000) if stage.total else 0
            bar.update(0, shown[0])

        yield on_stage
