"""Moves slots from shard to shard while they are read and written.

Every step is written down in the directory when it is done, and may be done twice: whoever finds a
move that somebody left goes on where it is. Steps that tell something to all processes lie further
apart than these keep the map.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from api.core.database.moving import beside, clearing, comparing, fences, record, replication
from api.core.database.moving.errors import MoveDelayed, RowsDiffer, ShardError
from api.core.database.moving.peers import Peer, Peers
from api.core.database.moving.ranges import slots_in
from api.core.database.moving.record import Directory, Move, Owner
from api.core.database.moving.requirements import check_server
from api.core.database.moving.tables import analyze, copy_partitions, find_tables
from api.core.database.sessions import SlotRange
from api.core.database.slot_map import MAP_PATIENCE_SECONDS, MAP_SECONDS, ranges_of
from api.core.ids import SLOTS

# Until then every process has read a map that was changed.
_EVERYBODY_KNOWS_SECONDS = MAP_SECONDS + MAP_PATIENCE_SECONDS + 0.2
_POLL_SECONDS = 0.1
_CLOSED_POLL_SECONDS = 0.02
# So near that the rest is a matter of moments.
_NEAR_BYTES = 4_000_000
# Writers answer 503 after ten seconds: from the closing to the last check before the new owner.
_CLOSED_SECONDS = 6.0
_TRIES = 3
_RETRY_SECONDS = 2.0


class Stage(NamedTuple):
    """What a move is at: for whoever watches."""

    step: str
    rows: int = 0
    lag_bytes: int = 0
    note: str = ""


class Mover:
    """Brings moves to their end."""

    def __init__(
        self,
        directory: Directory,
        peers: Peers,
        *,
        grace_seconds: float,
        max_lag_seconds: float,
        on_stage: Callable[[Stage], object] = lambda _: None,
    ) -> None:
        """Old rows are deleted `grace_seconds` after the slots have a new owner. Standbys of the
        target that are `max_lag_seconds` behind are read by nobody."""
        self._directory = directory
        self._peers = peers
        self._grace_seconds = grace_seconds
        self._max_lag_seconds = max_lag_seconds
        self._on_stage = on_stage
        self._tries = 0
        self._steps: dict[str, Callable[[Move], None]] = {
            record.PLANNED: self._announce,
            record.ANNOUNCED: self._begin,
            record.COPYING: self._follow,
            record.CLOSED: self._fence,
            record.FENCED: self._complete,
            record.FLIPPED: self._open,
            record.OPENED: self._detach,
            record.DETACHED: self._clear,
        }

    def plan(self, ranges: list[SlotRange], target: str, at_once: int = SLOTS) -> list[Move]:
        """Moves of at most `at_once` slots of one shard; those that the target has stay.

        Raises:
            ShardError: another move has not come to its end, or there is no such shard.
        """
        if self._directory.unfinished():
            raise ShardError("a move has not come to its end: resume or abort it first")
        slots = self._directory.slots
        self._peers.of(target, slots.urls)
        by_owner: dict[str, set[int]] = {}
        for slot in sorted(slots_in(ranges)):
            by_owner.setdefault(slots.owners[slot], set()).add(slot)
        by_owner.pop(target, None)
        for source in by_owner:
            self._peers.of(source, slots.urls)
        return [
            self._directory.plan(source, target, ranges_of(sorted(owned)[first : first + at_once]))
            for source, owned in by_owner.items()
            for first in range(0, len(owned), at_once)
        ]

    def run(self, move: Move, until: str = record.DONE) -> None:
        """Do all steps that are left, or those `until` one is done.

        Raises:
            ShardError: a step cannot be done. The move can be resumed, or aborted.
        """
        self._tries = 0
        while move.step not in (until, *record.ENDS):
            self._on_stage(Stage(move.step))
            try:
                self._steps[move.step](move)
            except MoveDelayed as error:
                self._reopen(move)
                self._tries += 1
                self._on_stage(Stage(move.step, note=f"{error}: tried again"))
                if self._tries == _TRIES:
                    raise
                time.sleep(_RETRY_SECONDS)
            except RowsDiffer:
                self._reopen(move)
                raise
        self._on_stage(Stage(move.step))

    def abort(self, move: Move) -> None:
        """Undo a move whose slots have not changed their owner yet.

        Raises:
            ShardError: they have.
        """
        if record.STEPS.index(move.step) >= record.STEPS.index(record.FLIPPED):
            raise ShardError("the slots have a new owner already: resume, then move them back")
        source, target = self._ends(move)
        self._require(move, move.source)
        self._reopen(move)
        replication.end(source, target, move)
        for rows in clearing.clear(target, move.ranges):
            self._on_stage(Stage("aborting", rows=rows))
        self._directory.step(move, record.ABORTED, Owner(move.source))
        self._on_stage(Stage(move.step))

    def _announce(self, move: Move) -> None:
        self._directory.step(move, record.ANNOUNCED, Owner(move.source, copy_on=move.target))

    def _begin(self, move: Move) -> None:
        """Start the copy, into a place that is empty."""
        source, target = self._ends(move)
        self._require(move, move.source)
        _wait_until_known()
        with target.connect() as connection, connection.begin():
            begun = replication.exists(connection, move)
        if not begun:
            for peer in (source, target):
                check_server(peer)
            replication.check(source, target)
            self._copy_partitions(move)
            for peer in (source, target):
                fences.set_fences(peer, self._directory.slots.owned_by(peer.name))
            for _ in clearing.clear(target, move.ranges):
                pass
            replication.begin(source, target, move)
        self._directory.step(move, record.COPYING)

    def _follow(self, move: Move) -> None:
        """Wait until the copy is there and near; then close the slots."""
        source, target = self._ends(move)
        if "segments_since" not in move.facts:
            self._copy_segments(move)
            self._directory.step(move, record.COPYING)
        self._wait_until_near(move)
        with target.outside() as connection:
            analyze(connection, find_tables(connection))
        self._copy_segments(move)
        self._wait_until_near(move)
        with source.transaction() as connection:
            move.facts["compacted_to"] = beside.compacted_to(connection)
        self._directory.step(
            move, record.CLOSED, Owner(move.source, closed=True, copy_on=move.target)
        )

    def _wait_until_near(self, move: Move) -> None:
        source, target = self._ends(move)
        with source.outside() as here, target.outside() as there:
            while True:
                self._copy_partitions(move)
                state = replication.progress(here, there, move)
                note = f"{state.copied} of {state.tables} tables"
                if state.errors:
                    note += f", {state.errors} errors: see the log of {move.target}'s PostgreSQL"
                self._on_stage(Stage(move.step, state.copying_rows, state.lag_bytes, note))
                if state.is_copied and state.lag_bytes < _NEAR_BYTES:
                    return
                time.sleep(_POLL_SECONDS)

    def _fence(self, move: Move) -> None:
        """Nobody is to write the slots any more: have the source refuse whoever does, and wait
        until the target has all that was written."""
        source, _ = self._ends(move)
        with _at_most(_CLOSED_SECONDS) as left:
            _wait_until_known()
            kept = slots_in(self._directory.slots.owned_by(move.source)) - slots_in(move.ranges)
            fences.set_fences(source, ranges_of(kept), left())
            with source.outside() as connection:
                place = replication.position(connection)
                while not replication.has_passed(connection, move, place):
                    if not left():
                        raise MoveDelayed("the target does not catch up")
                    time.sleep(_CLOSED_POLL_SECONDS)
        self._directory.step(move, record.FENCED)

    def _complete(self, move: Move) -> None:
        """Bring what is not replicated, prove that all is there, and change the owner."""
        source, target = self._ends(move)
        self._copy_segments(move)
        rows = comparing.compare(
            source,
            target,
            move.ranges,
            lambda table: self._on_stage(Stage(move.step, note=f"comparing {table}")),
        )
        self._wait_for_standbys(target)
        owned = slots_in(self._directory.slots.owned_by(move.target)) | slots_in(move.ranges)
        fences.set_fences(target, ranges_of(owned))
        move.facts["rows"] = rows
        move.facts["flipped_at"] = datetime.now(UTC).isoformat()
        self._directory.step(
            move, record.FLIPPED, Owner(move.target, closed=True, copy_on=move.source)
        )

    def _open(self, move: Move) -> None:
        _wait_until_known()
        self._directory.step(move, record.OPENED, Owner(move.target, copy_on=move.source))

    def _detach(self, move: Move) -> None:
        """End the replication; what the target does from now on with what came is its own."""
        source, target = self._ends(move)
        replication.end(source, target, move)
        _wait_until_known()
        beside.merge_horizons(source, target)
        beside.compact_again(target, move.facts["compacted_to"])
        self._directory.step(move, record.DETACHED)

    def _clear(self, move: Move) -> None:
        """Delete the old rows, once nobody reads them any more."""
        source, _ = self._ends(move)
        self._require(move, move.target)
        flipped = datetime.fromisoformat(move.facts["flipped_at"])
        while (left := self._grace_seconds - (datetime.now(UTC) - flipped).total_seconds()) > 0:
            self._on_stage(Stage(move.step, note=f"old rows go in {left:.0f} s"))
            time.sleep(min(left, 1.0))
        for rows in clearing.clear(source, move.ranges):
            self._on_stage(Stage(move.step, rows=rows, note="deleting old rows"))
        clearing.reclaim(source)
        self._directory.step(move, record.DONE, Owner(move.target))

    def _reopen(self, move: Move) -> None:
        """Let the slots be written again where they are, if they are closed."""
        if move.step not in (record.CLOSED, record.FENCED):
            return
        source, target = self._ends(move)
        fences.set_fences(target, self._directory.slots.owned_by(move.target))
        fences.set_fences(source, self._directory.slots.owned_by(move.source))
        self._directory.step(move, record.COPYING, Owner(move.source, copy_on=move.target))

    def _copy_segments(self, move: Move) -> None:
        source, target = self._ends(move)
        since = move.facts.get("segments_since")
        unseen = beside.copy_segments(
            source,
            target,
            move.ranges,
            datetime.fromisoformat(since) if since else None,
            lambda rows: self._on_stage(Stage(move.step, rows, note="segments")),
        )
        move.facts["segments_since"] = unseen.isoformat()

    def _copy_partitions(self, move: Move) -> None:
        source, target = self._ends(move)
        with source.transaction() as here, target.transaction() as there:
            copy_partitions(here, there)

    def _wait_for_standbys(self, target: Peer) -> None:
        """Whoever reads a standby of the target must find there what came."""
        with target.outside() as connection:
            place = replication.position(connection)
            until = time.monotonic() + self._max_lag_seconds
            while replication.standbys_behind(connection, place) and time.monotonic() < until:
                time.sleep(_CLOSED_POLL_SECONDS)

    def _require(self, move: Move, owner: str) -> None:
        """Before anything is deleted of the other shard: whoever changed the map by hand is not
        to lose rows."""
        owners = {self._directory.slots.owners[slot] for slot in slots_in(move.ranges)}
        if owners != {owner}:
            raise ShardError(f"the map has changed: these slots are no more {owner}'s alone")

    def _ends(self, move: Move) -> tuple[Peer, Peer]:
        urls = self._directory.slots.urls
        return self._peers.of(move.source, urls), self._peers.of(move.target, urls)


def _wait_until_known() -> None:
    time.sleep(_EVERYBODY_KNOWS_SECONDS)


@contextmanager
def _at_most(seconds: float) -> Iterator[Callable[[], float]]:
    """Gives what asks how many of these seconds are left."""
    until = time.monotonic() + seconds
    yield lambda: max(until - time.monotonic(), 0.0)


def told_facts(move: Move) -> dict[str, Any]:
    """A move for machines."""
    return {
        "id": move.id,
        "source": move.source,
        "target": move.target,
        "slots": [list(span) for span in move.ranges],
        "step": move.step,
        "rows": move.facts.get("rows"),
        "begun_at": move.begun_at.isoformat(),
        "stepped_at": move.stepped_at.isoformat(),
    }
