"""What the directory knows of moves and of the map; only one process at a time may change it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, select, text

from api.core.database.models import ShardRow, SlotMove, SlotRow
from api.core.database.moving.errors import ShardError
from api.core.database.moving.peers import Peer
from api.core.database.moving.ranges import slots_in
from api.core.database.sessions import SlotRange
from api.core.database.slot_map import Slots, slots_of

# The steps of a move, in their order; each is written down when it is done.
PLANNED = "planned"
ANNOUNCED = "announced"  # everybody is to know that there may be copies
COPYING = "copying"  # the subscription is there
CLOSED = "closed"  # nobody is to write any more
FENCED = "fenced"  # nobody can; the copy is complete
FLIPPED = "flipped"  # the slots are the target's
OPENED = "opened"  # and can be written
DETACHED = "detached"  # the subscription is gone
DONE = "done"  # the old rows are gone
ABORTED = "aborted"
STEPS = (PLANNED, ANNOUNCED, COPYING, CLOSED, FENCED, FLIPPED, OPENED, DETACHED, DONE)
ENDS = (DONE, ABORTED)

# Any constant that nothing else locks.
_ADVISORY_LOCK = 0x73_68_61_72_64_73

_SET_SLOTS = text(
    """
    INSERT INTO slots (slot, shard, closed, copy_on)
    SELECT slot, :shard, :closed, :copy_on FROM unnest(CAST(:slots AS int[])) AS slot
    ON CONFLICT (slot) DO UPDATE
    SET shard = excluded.shard, closed = excluded.closed, copy_on = excluded.copy_on
    """
)
_NEW_VERSION = text("UPDATE slot_map SET version = version + 1")
_STEP = text(
    "UPDATE slot_moves SET step = :step, facts = CAST(:facts AS jsonb), stepped_at = now()"
    " WHERE id = :id AND step = :before RETURNING stepped_at"
)
_MOVES = select(
    *(getattr(SlotMove, name) for name in ("id", "source", "target", "ranges", "step", "facts")),
    SlotMove.begun_at,
    SlotMove.stepped_at,
).order_by(SlotMove.id)


@dataclass(slots=True)
class Move:
    """Slots that one shard gives to another, and how far that is."""

    id: int
    source: str
    target: str
    ranges: list[SlotRange]
    step: str
    facts: dict[str, Any]
    begun_at: datetime
    stepped_at: datetime

    @property
    def name(self) -> str:
        """Of the publication, the subscription and the replication slot."""
        return f"signpost_move_{self.id}"


@dataclass(frozen=True, slots=True)
class Owner:
    """Where some slots are from now on."""

    shard: str
    closed: bool = False
    copy_on: str | None = None


@dataclass(slots=True)
class Directory:
    """The directory, for the one process that may change the map.

    The right to it is a lock of this connection: who has lost the connection changes nothing more.
    """

    connection: Connection
    slots: Slots = field(init=False)

    def __post_init__(self) -> None:
        self._read()

    def add_shard(self, name: str, url: str | None) -> None:
        """Register a shard, or another address of it."""
        with self.connection.begin():
            self.connection.execute(
                text(
                    "INSERT INTO shards (name, url) VALUES (:name, :url)"
                    " ON CONFLICT (name) DO UPDATE SET url = excluded.url"
                ),
                {"name": name, "url": url},
            )
            self.connection.execute(_NEW_VERSION)
        self._read()

    def plan(self, source: str, target: str, ranges: Sequence[SlotRange]) -> Move:
        """Write down that slots are to be moved."""
        with self.connection.begin():
            self.connection.execute(
                text(
                    "INSERT INTO slot_moves (source, target, ranges)"
                    " VALUES (:source, :target, CAST(:ranges AS jsonb))"
                ),
                {"source": source, "target": target, "ranges": orjson.dumps(ranges).decode()},
            )
        return self.unfinished()[-1]

    def unfinished(self) -> list[Move]:
        """The moves that have not come to an end."""
        with self.connection.begin():
            return find_moves(self.connection, ended=False)

    def step(self, move: Move, step: str, owner: Owner | None = None) -> None:
        """Write down that a step is done, together with what it makes of the map.

        Raises:
            ShardError: another process has gone on with the move meanwhile.
        """
        values = {"id": move.id, "before": move.step, "step": step}
        with self.connection.begin():
            facts = orjson.dumps(move.facts).decode()
            stepped_at = self.connection.scalar(_STEP, values | {"facts": facts})
            if stepped_at is None:
                raise ShardError(f"move {move.id} is not where it was: another process moves it")
            if owner is not None:
                self.connection.execute(
                    _SET_SLOTS,
                    {
                        "shard": owner.shard,
                        "closed": owner.closed,
                        "copy_on": owner.copy_on,
                        "slots": sorted(slots_in(move.ranges)),
                    },
                )
                self.connection.execute(_NEW_VERSION)
        move.step, move.stepped_at = step, stepped_at
        if owner is not None:
            self._read()

    def _read(self) -> None:
        with self.connection.begin():
            self.slots = read_slots(self.connection)


@contextmanager
def only_mover(main: Peer) -> Iterator[Directory]:
    """The directory, for nobody else meanwhile.

    Raises:
        ShardError: another process has it.
    """
    with main.connect() as connection:
        with connection.begin():
            main.refuse_pooler(connection)
            query = text("SELECT pg_try_advisory_lock(:key)")
            if not connection.scalar(query, {"key": _ADVISORY_LOCK}):
                raise ShardError("another process works on the shards: wait for it, or end it")
        # Of a connection that is gone the server must know soon, so that another can go on.
        yield Directory(connection)


def read_slots(connection: Connection) -> Slots:
    """The map as it is now."""
    version = connection.scalar(text("SELECT version FROM slot_map"))
    shards = connection.execute(select(ShardRow.name, ShardRow.url)).all()
    columns = (SlotRow.slot, SlotRow.shard, SlotRow.closed, SlotRow.copy_on)
    return slots_of(int(version or 0), shards, connection.execute(select(*columns)).all())


def find_moves(connection: Connection, *, ended: bool) -> list[Move]:
    """Moves that have come to an end, or those that have not; in their order."""
    chosen = SlotMove.step.in_(ENDS) if ended else SlotMove.step.not_in(ENDS)
    return [_move(row._asdict()) for row in connection.execute(_MOVES.where(chosen))]


def _move(row: Mapping[str, Any]) -> Move:
    return Move(**{**row, "ranges": [(first, last) for first, last in row["ranges"]]})
