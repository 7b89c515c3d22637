"""Opens archives; of the places for exports each takes one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator

from api.core.database.routing import Database
from api.core.errors import Unavailable
from api.identity.service import IdentityService
from api.stats.service import StatsService
from api.transfers.archives.contents import Contents
from api.transfers.exports.encodings import PACKERS
from api.transfers.exports.formats import Style, make_format
from api.transfers.exports.kinds import types_of
from api.transfers.exports.places import Places
from api.transfers.exports.stream import ExportStream, Incomplete, Peer

__all__ = ["ArchiveService", "ArchiveStream"]

log = logging.getLogger(__name__)


class ArchiveStream(ExportStream):
    """The body of an archive: guarded like that of an export, but made by `Contents`."""

    def __init__(
        self,
        contents: Contents,
        peer: Peer,
        allowed: Callable[[], bool],
        on_close: Callable[[ExportStream], None],
    ) -> None:
        links = contents.kinds[0]
        super().__init__(
            links,
            contents.reader(links),
            make_format(Style(), links.fields, types_of(links.fields), continued=False),
            PACKERS["identity"](),
            cursor_of=lambda _: "",
            peer=peer,
            allowed=allowed,
            on_close=on_close,
        )
        self.name = "archive"
        self._contents = contents

    def _make(self) -> Generator[bytes]:
        try:
            for piece in self._contents.pieces():
                self.rows = self._contents.rows
                if piece:
                    yield piece
                if (reason := self._halted()) is not None:
                    raise Unavailable(reason)
        except Incomplete:
            raise
        except Exception as error:
            if isinstance(error, Unavailable):
                log.warning("an archive is cut off after %d rows: %s", self.rows, error)
            else:
                log.exception("an archive failed")
            # A ZIP without its directory at the end is none: nothing more need be said.
            self.outcome = "cut"
            self._peer.reset_at_close()
            raise Incomplete from error
        self.outcome = "complete"


class ArchiveService:
    """Opens archives of workspaces."""

    def __init__(
        self,
        db: Database,
        identity: IdentityService,
        stats: StatsService,
        short_url: Callable[[str, str], str],
        places: Places,
        *,
        idle_seconds: float,
    ) -> None:
        self._db = db
        self._identity = identity
        self._stats = stats
        self._short_url = short_url
        self._places = places
        self._idle_seconds = idle_seconds

    def open(self, workspace: int, peer: Peer, allowed: Callable[[], bool]) -> ArchiveStream:
        """The archive of a workspace, which is made as it is read.

        Raises:
            TooManyRequests, Unavailable: there are as many exports as there may be.
        """
        # What is away now can still be told by the status of the answer.
        self._identity.get_workspace(workspace)
        contents = Contents(
            self._db,
            self._identity,
            self._stats,
            workspace,
            short_url=self._short_url,
            idle_seconds=self._idle_seconds,
        )
        stream = ArchiveStream(contents, peer, allowed, self._places.forget)
        self._places.add(workspace, stream)
        return stream
