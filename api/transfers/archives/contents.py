"""The files of an archive, each as pieces that are made when they are wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from zipstream import ZIP_DEFLATED, ZipStream

from api.clicks.service import ClickFilter
from api.core.database.routing import Database
from api.identity.service import IdentityService
from api.links.service import LinkFilter
from api.stats.service import StatsQuery, StatsService
from api.transfers.archives.members import DIRECTORY
from api.transfers.exports.formats import End, Style, make_format
from api.transfers.exports.kinds import Clicks, Kind, Links, types_of
from api.transfers.exports.reading import Reader

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
# Fast, and nearly as small: lines of JSON are much alike.
_LEVEL = 3

README = """\
Everything of a workspace, as it was when this was made
=======================================================

manifest.json          what is in here: for each file its rows, bytes and SHA-256. It is the last
                       file: without it the archive was cut off
workspace.json         the workspace and its settings
links.ndjson           links, one a line; `POST /api/v1/imports` takes the file as it is
clicks.ndjson          raw clicks, as far as they are kept; also of links that were deleted
statistics.json        clicks and visitors by month, bots included
memberships.ndjson     who works with it, and in which role
invitations.ndjson     who was invited
domains.ndjson         its domains
api_keys.ndjson        keys, without the keys themselves
oauth_clients.ndjson   clients, without their secrets
target_rules.ndjson    where its links may not lead
audit_events.ndjson    who did what

NDJSON is one JSON object a line, in UTF-8. Times are UTC (RFC 3339), ids are strings. The last line
of links and clicks says that it is the last, and how many there were.
"""


@dataclass(slots=True)
class File:
    """What became of a file."""

    rows: int | None = None
    size_bytes: int = 0
    sha256: str = ""


class Contents:
    """Makes the archive of one workspace. Files are not of one moment: each row is as it was when
    it was read, between `began_at` and `ended_at` of the manifest."""

    def __init__(
        self,
        db: Database,
        identity: IdentityService,
        stats: StatsService,
        workspace: int,
        *,
        short_url: Callable[[str, str], str],
        idle_seconds: float,
    ) -> None:
        self._db = db
        self._identity = identity
        self._stats = stats
        self._workspace = workspace
        self._idle_seconds = idle_seconds
        self.kinds: tuple[Kind, ...] = (
            Links(workspace, LinkFilter(), Links.default_fields, short_url),
            Clicks(workspace, ClickFilter(), Clicks.default_fields),
        )
        self._files: dict[str, File] = {}
        self._began_at = datetime.now(UTC)
        self.rows = 0

    def pieces(self) -> Iterator[bytes]:
        """The archive."""
        archive = ZipStream(compress_type=ZIP_DEFLATED, compress_level=_LEVEL)
        archive.add(self._told("README.txt", iter((README.encode(),))), "README.txt")
        archive.add(self._told("workspace.json", self._about()), "workspace.json")
        for rows in DIRECTORY:
            lines = rows.lines(self._db, self._workspace)
            archive.add(self._told(rows.name, self._counted(rows.name, lines)), rows.name)
        for kind in self.kinds:
            name = f"{kind.name}.ndjson"
            archive.add(self._told(name, self._counted(name, self._exported(kind))), name)
        archive.add(self._told("statistics.json", self._statistics()), "statistics.json")
        archive.add(self._manifest(), "manifest.json")
        yield from archive

    def reader(self, kind: Kind) -> Reader:
        """What reads all rows of a kind."""
        return Reader(
            self._db, self._workspace, kind, kind.beginning, idle_seconds=self._idle_seconds
        )

    def _about(self) -> Iterator[bytes]:
        row = self._identity.get_workspace(self._workspace)
        yield orjson.dumps(row._asdict() | {"id": str(row.id)}, option=_OPTIONS)

    def _exported(self, kind: Kind) -> Iterator[tuple[bytes, int]]:
        writer = make_format(Style(), kind.fields, types_of(kind.fields), continued=False)
        rows = 0
        for batch in self.reader(kind).batches():
            rows += len(batch)
            yield writer.write(list(map(kind.values, batch))), len(batch)
        yield writer.end(End(complete=True, rows=rows, cursor=None)), 0

    def _statistics(self) -> Iterator[bytes]:
        since = self._identity.get_workspace(self._workspace).created_at.date()
        query = StatsQuery(start=since.replace(day=1), interval="month", bots="include")
        stats = self._stats.workspace_stats(self._workspace, query)
        shown = {
            "total": stats.total._asdict(),
            "series": [{"start": start} | tally._asdict() for start, tally in stats.series],
        }
        yield orjson.dumps(shown, option=_OPTIONS)

    def _counted(self, name: str, parts: Iterator[tuple[bytes, int]]) -> Iterator[bytes]:
        file = self._files.setdefault(name, File(rows=0))
        for piece, rows in parts:
            file.rows = (file.rows or 0) + rows
            self.rows += rows
            yield piece

    def _told(self, name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The pieces of a file, of which size and checksum are kept."""
        hashed = hashlib.sha256()
        file = self._files.setdefault(name, File())
        for piece in pieces:
            hashed.update(piece)
            file.size_bytes += len(piece)
            yield piece
        file.sha256 = hashed.hexdigest()

    def _manifest(self) -> Iterator[bytes]:
        manifest: dict[str, Any] = {
            "format": "signpost-workspace-archive",
            "version": 1,
            "workspace_id": str(self._workspace),
            "began_at": self._began_at,
            "ended_at": datetime.now(UTC),
            "files": {
                name: {"rows": file.rows, "bytes": file.size_bytes, "sha256": file.sha256}
                for name, file in self._files.items()
            },
        }
        yield orjson.dumps(manifest, option=_OPTIONS)
