"""A primary and its replicas: who is read, and who is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from api.core.database.prepared import ReadOnce, WriteOnce
from api.core.database.servers import Server
from api.core.database.sessions import ReadSession, SlotRange, WriteSession


class ReplicaSet:
    """The servers that hold the same rows.

    A `subject` is whose own writes must be seen, None where nobody's must.
    """

    def __init__(self, primary: Server, replicas: Sequence[Server] = ()) -> None:
        self.primary = primary
        self.replicas = tuple(replicas)

    def read(
        self,
        subject: str | None = None,  # noqa: ARG002 - what a replica is chosen by
        foreign: Sequence[SlotRange] = (),
    ) -> AbstractContextManager[ReadSession]:
        """Read from a server that has what `subject` wrote."""
        return self.primary.read(foreign)

    def write(
        self,
        subject: str | None = None,  # noqa: ARG002 - as above
        foreign: Sequence[SlotRange] = (),
    ) -> AbstractContextManager[WriteSession]:
        """Write to the primary, as `subject`."""
        return self.primary.write(foreign)

    def read_once(
        self,
        subject: str | None = None,  # noqa: ARG002 - as above
        foreign: Sequence[SlotRange] = (),
    ) -> ReadOnce:
        """As `read`, each question a transaction of its own."""
        return self.primary.read_once(foreign)

    def write_once(self, subject: str | None = None) -> WriteOnce:  # noqa: ARG002 - as above
        """As `write`, each command a transaction of its own."""
        return self.primary.write_once()

    def servers(self) -> Iterator[Server]:
        """The primary, then the replicas."""
        yield self.primary
        yield from self.replicas

    def dispose(self, *, close: bool = True) -> None:
        """Drop the pooled connections; `close=False` after a fork."""
        for server in self.servers():
            server.dispose(close=close)
