"""What is looked at, in the order in which it is told."""

from __future__ import annotations

from api.operations.doctor import (
    backups,
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
    served,
    settings,
    slots,
    versions,
)
from api.operations.doctor.finding import Look

LOOKS = (
    Look("settings", "settings", settings.look),
    Look("settings", "capacity", capacity.look),
    Look("connections", "databases", connections.look_at_databases),
    Look("connections", "redis", connections.look_at_redis),
    Look("connections", "broker", queues.look),
    Look("versions", "packages", versions.look_at_packages),
    Look("versions", "postgresql", versions.look_at_databases),
    Look("versions", "redis version", versions.look_at_redis),
    Look("migrations", "schemas", migrations.look),
    Look("slots", "slot map", slots.look),
    Look("partitions", "months", partitions.look),
    Look("replicas", "replicas", replicas.look),
    Look("backups", "backups", backups.look),
    Look("clock", "clocks of databases", clock.look),
    Look("clock", "clock of redis", clock.look_at_redis),
    Look("disk", "home", disk.look_at_home),
    Look("disk", "spool", disk.look_at_spool),
    Look("certificates", "certificates", certificates.look),
    Look("certificates", "certificates of servers", served.look),
    Look("host", "host", host.look),
    Look("processes", "processes", processes.look),
)
