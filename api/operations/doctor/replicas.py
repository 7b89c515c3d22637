"""Whether replicas follow their primaries, and closely enough to be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import text

from api.operations.doctor.examination import for_each
from api.operations.doctor.finding import Finding, ok, unknown, warning, wrong
from api.operations.doctor.subject import Place, Subject

_PRIMARY = text("SELECT pg_current_wal_lsn()::text AS position")
_REPLICA = text(
    """
    SELECT pg_is_in_recovery() AS follows,
        CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END AS is_paused,
        pg_wal_lsn_diff(CAST(:position AS pg_lsn), pg_last_wal_replay_lsn())::bigint AS bytes,
        extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS seconds
    """
)
_SYSTEM = text("SELECT system_identifier::text FROM pg_control_system()")
# What an idle primary writes between two questions.
_FEW_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class _Primary:
    position: str
    system: str


def look(subject: Subject) -> Iterator[Finding]:
    """Each replica against the primary of its shard."""
    replicas = subject.replicas()
    if not replicas:
        return
    if subject.connected.redis_url is None:
        advice = "Set REDIS_URL: without it nobody knows who wrote what, and no replica is read."
        yield warning("replicas", "there is no Redis", advice)
    primaries = {place.name: place for place in subject.primaries()}
    most = subject.settings.db_max_replica_lag_seconds

    def of(replica: Place) -> Iterator[Finding]:
        primary = primaries.get(replica.shard)
        check = f"replica {replica.name}"
        if primary is None:
            advice = f"Correct the name in {replica.setting}."
            return iter([wrong(check, f"there is no shard {replica.shard}", advice)])
        return _of_replica(check, replica, primary, most)

    yield from for_each(subject, replicas, of)


def _of_replica(check: str, replica: Place, place: Place, most: float) -> Iterator[Finding]:
    with place.read() as session:
        primary = _Primary(session.scalar(_PRIMARY), session.scalar(_SYSTEM))
    with replica.read() as session:
        state = session.execute(_REPLICA, {"position": primary.position}).one()
        system = session.scalar(_SYSTEM)
    if not state.follows:
        advice = f"It was promoted: take it out of {replica.setting}, or let it follow again."
        yield wrong(check, "it is a primary itself", advice)
    elif system != primary.system:
        advice = f"Make it anew from {place.name} (pg_basebackup)."
        yield wrong(check, "it replicates another server", advice)
    elif state.bytes is None:
        yield unknown(check, "it has replayed nothing yet")
    elif state.bytes > _FEW_BYTES and (state.seconds or 0) > most:
        found = f"{state.bytes / 1e6:.0f} MB and {state.seconds:.0f} s behind"
        advice = "It is not read while it is: look at its load, and the network between."
        yield warning(check, f"{found}{', paused' if state.is_paused else ''}", advice)
    elif state.is_paused:
        advice = "It will fall behind: let it replay again."
        yield warning(check, "replay is paused", advice, "SELECT pg_wal_replay_resume()")
    else:
        yield ok(check, f"{max(state.bytes, 0)} bytes behind")
