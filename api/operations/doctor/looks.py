"""What is looked at, in the order in which it is told."""

from __future__ import annotations

from api.operations.doctor import (
    capacity,
    certificates,
    clock,
    connections,
    disk,
    host,
    migrations,
    partitions,
    processes,
    queues,
    replicas,
    settings,
    slots,
    versions,
)
from api.operations.doctor.finding import Look

LOOKS: tuple[tuple[str, Look], ...] = (
    ("settings", settings.look),
    ("settings", capacity.look),
    ("connections", connections.look_at_databases),
    ("connections", connections.look_at_redis),
    ("connections", queues.look),
    ("versions", versions.look_at_packages),
    ("versions", versions.look_at_databases),
    ("versions", versions.look_at_redis),
    ("migrations", migrations.look),
    ("slots", slots.look),
    ("partitions", partitions.look),
    ("replicas", replicas.look),
    ("clock", clock.look),
    ("clock", clock.look_at_redis),
    ("disk", disk.look_at_home),
    ("disk", disk.look_at_spool),
    ("certificates", certificates.look),
    ("host", host.look),
    ("processes", processes.look),
)
