"""Links and clicks by the million, in and out."""

from __future__ import annotations

from dataclasses import dataclass

from config.declaring import integer, seconds


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """Links and clicks by the million, in and out."""

    export_streams: int = integer(
        4,
        "Exports at a time in each process: each holds a connection to every shard, so they must "
        "be fewer than `DB_POOL_SIZE` and `DB_MAX_OVERFLOW` together.",
        1,
        500,
    )
    export_streams_per_workspace: int = integer(
        2, "Exports at a time of a workspace in each process.", 1, 500
    )
    export_stuck_seconds: float = seconds(
        30.0, "A client that takes nothing of an export for so long is cut off."
    )
