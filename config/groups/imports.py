"""Imports of links."""

from __future__ import annotations

from dataclasses import dataclass

from config.declaring import integer, seconds


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """Imports of links."""

    imports_per_workspace: int = integer(
        3, "Imports of a workspace that are received, wait or run at the same time.", 1
    )
    import_max_bytes: int = integer(
        8 << 30, "Largest body of an import, unpacked; MAX_BODY_BYTES does not hold there.", 1
    )
    import_idle_seconds: float = seconds(
        60.0, "For how long a client may send nothing in the middle of an import."
    )
    import_abandon_hours: float = seconds(
        24.0, "How long an import whose body broke off waits for the rest of it."
    )
    import_keep_days: float = seconds(
        7.0, "How long the outcomes of an import that has ended are kept."
    )
