"""Proves that a backup can be restored: into databases that are dropped afterwards."""

from __future__ import annotations

from pathlib import Path

from api.core.database.backups.manifest import Manifest
from api.core.database.backups.restoring import restore
from api.core.database.backups.servers import scratch_databases, scratch_server
from api.core.database.backups.stages import OnStage


def verify_backup(
    folder: Path, manifest: Manifest, *, scratch: str | None, jobs: int, on_stage: OnStage
) -> None:
    """Restore each database, and compare all rows with what was counted at the point.

    Raises:
        BackupError: it cannot be restored, or something differs.
    """
    lowest = max(facts.server_major for facts in manifest.databases.values())
    with (
        scratch_server(scratch, lowest) as server,
        scratch_databases(server, list(manifest.databases)) as peers,
    ):
        restore(folder, manifest, peers, jobs, on_stage)
