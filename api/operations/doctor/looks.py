"""What is looked at, in the order in which it is told."""

from __future__ import annotations

from api.operations.doctor import clock, connections, migrations
from api.operations.doctor.finding import Look

LOOKS: tuple[tuple[str, Look], ...] = (
    ("connections", connections.look_at_databases),
    ("connections", connections.look_at_redis),
    ("migrations", migrations.look),
    ("clock", clock.look),
    ("clock", clock.look_at_redis),
)
