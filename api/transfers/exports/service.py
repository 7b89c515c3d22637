"""The rules of exports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from api.clicks.service import ClickFilter
from api.core.database.routing import Database
from api.core.pagination import Cursors
from api.domains.service import DomainService
from api.links.service import LinkFilter, LinkService
from api.transfers.exports.encodings import PACKERS
from api.transfers.exports.formats import Style, make_format
from api.transfers.exports.kinds import Clicks, Kind, Links, Place, types_of
from api.transfers.exports.places import Places
from api.transfers.exports.reading import Reader
from api.transfers.exports.stream import ExportStream, Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How an export is to be, and who takes it."""

    fields: Sequence[str]
    style: Style
    encoding: str
    # Where to go on, if not at the beginning: one or the other.
    cursor: str | None
    after: Place | None
    peer: Peer
    allowed: Callable[[], bool]


class ExportService:
    """Opens exports."""

    def __init__(
        self,
        db: Database,
        links: LinkService,
        domains: DomainService,
        short_url: Callable[[str, str], str],
        places: Places,
        secret: bytes,
        *,
        idle_seconds: float,
    ) -> None:
        self._db = db
        self._links = links
        self._domains = domains
        self._short_url = short_url
        self._places = places
        self._cursors = Cursors(secret, "exports")
        self._idle_seconds = idle_seconds

    def export_links(self, workspace: int, which: LinkFilter, asked: Asked) -> ExportStream:
        """The links that `which` names.

        Raises:
            TooManyRequests, Unavailable: there are as many exports as there may be.
            InvalidCursor: the cursor is not of this export.
            FormatMissing: a package for the format is not installed.
        """
        if which.domain is not None:
            which = replace(which, domain=self._domains.spelling_of(which.domain))
        return self._open(workspace, Links(workspace, which, asked.fields, self._short_url), asked)

    def export_clicks(self, workspace: int, which: ClickFilter, asked: Asked) -> ExportStream:
        """The clicks that `which` names.

        Raises:
            NotFound: the workspace never had the link that `which` names.
            TooManyRequests, Unavailable, InvalidCursor, FormatMissing: as for links.
        """
        if which.link is not None:
            self._links.require(workspace, which.link, deleted=True)
        return self._open(workspace, Clicks(workspace, which, asked.fields), asked)

    def _open(self, workspace: int, kind: Kind, asked: Asked) -> ExportStream:
        question = kind.asked()
        after = asked.after or kind.beginning
        if asked.cursor is not None:
            after = kind.place_of(self._cursors.read(asked.cursor, question))
        continued = after != kind.beginning
        stream = ExportStream(
            kind,
            Reader(self._db, workspace, kind, after, idle_seconds=self._idle_seconds),
            make_format(asked.style, kind.fields, types_of(kind.fields), continued=continued),
            PACKERS[asked.encoding](),
            cursor_of=lambda place: self._cursors.write(question, kind.position_of(place)),
            peer=asked.peer,
            allowed=asked.allowed,
            on_close=self._places.forget,
        )
        self._places.add(workspace, stream)
        try:
            stream.begin()
        except BaseException:
            stream.close()
            raise
        return stream
