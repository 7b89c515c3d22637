"""What can be exported: how it is read, and what its rows look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Protocol, TypeAlias

from api.clicks.service import (
    CLICK_FIELDS,
    FIELDS_OF_LINKS,
    ClickFilter,
    ClickPlace,
    stream_clicks_of,
)
from api.core.database.routing import ReadSession
from api.core.database.sessions import AnyRow
from api.links.service import LINK_FIELDS, LinkFilter, clicked_links, state_of, stream_links

# How many rows are read and sent at once. To make them takes about as long as others may wait.
ROWS_AT_ONCE = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Where an export goes on: after this, in the order of its rows. The link's id comes first.
Place: TypeAlias = tuple[Any, ...]
Batch: TypeAlias = tuple[list[AnyRow], Place]


class Type(Enum):
    """What the values of a field are, where there is one."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIME = "time"
    TEXTS = "texts"
    # An object, as text.
    JSON = "json"


_TYPES = {
    "tags": Type.TEXTS,
    "metadata": Type.JSON,
    **dict.fromkeys(("max_clicks", "redirect_status", "clicks"), Type.INTEGER),
    **dict.fromkeys(("has_password", "forward_query", "bot"), Type.BOOLEAN),
    **dict.fromkeys(
        ("starts_at", "expires_at", "created_at", "updated_at", "last_clicked_at", "clicked_at"),
        Type.TIME,
    ),
}


class Kind(Protocol):
    """One of the two, narrowed to what was asked for."""

    name: str
    fields: Sequence[str]
    beginning: Place

    def asked(self) -> tuple[Any, ...]:
        """What was asked for, but for fields: a cursor belongs to it."""

    def read(self, session: ReadSession, after: Place, idle_seconds: float) -> Iterator[Batch]:
        """Of one shard the rows after a place, some at a time, each time with the place up to which
        these are all. A row begins with the values of the fields and ends with its link's id."""

    def values(self, row: AnyRow) -> Sequence[Any]:
        """What is shown of a row: the values of the fields, and perhaps more behind them."""

    def position_of(self, place: Place) -> list[int]:
        """A place as whole numbers."""

    def place_of(self, position: Sequence[int]) -> Place:
        """The place that these stand for."""


def types_of(fields: Sequence[str]) -> list[Type]:
    """What the values of fields are."""
    return [_TYPES.get(name, Type.TEXT) for name in fields]


class Links:
    """Links that are not deleted, in the order of their ids: that of their creation."""

    name = "links"
    all_fields = LINK_FIELDS
    default_fields = LINK_FIELDS
    beginning: Place = (0,)

    def __init__(
        self,
        workspace: int,
        which: LinkFilter,
        fields: Sequence[str],
        short_url: Callable[[str, str], str],
    ) -> None:
        self.fields = fields
        self._workspace = workspace
        self._which = which
        self._now = datetime.now(UTC)
        self._short_url = short_url
        self._at_state = fields.index("state") if "state" in fields else None
        self._at_url = fields.index("short_url") if "short_url" in fields else None

    def asked(self) -> tuple[Any, ...]:
        return ("links", self._workspace, *self._which.asked())

    def read(self, session: ReadSession, after: Place, idle_seconds: float) -> Iterator[Batch]:
        for rows, identifier in stream_links(
            session,
            self._workspace,
            self._which,
            fields=self.fields,
            after=after[0],
            now=self._now,
            at_once=ROWS_AT_ONCE,
            idle_seconds=idle_seconds,
        ):
            yield rows, (identifier,)

    def values(self, row: AnyRow) -> Sequence[Any]:
        if self._at_state is None and self._at_url is None:
            return row
        shown = list(row)
        if self._at_state is not None:
            shown[self._at_state] = state_of(row, self._now)
        if self._at_url is not None:
            shown[self._at_url] = self._short_url(row.domain, row.slug)
        return shown

    def position_of(self, place: Place) -> list[int]:
        return [place[0]]

    def place_of(self, position: Sequence[int]) -> Place:
        return (position[0],)


class Clicks:
    """Clicks, also of deleted links: link by link, each link's in the order of their times."""

    name = "clicks"
    all_fields = CLICK_FIELDS
    default_fields = tuple(name for name in CLICK_FIELDS if name not in FIELDS_OF_LINKS)
    beginning: Place = ClickPlace(0)

    def __init__(self, workspace: int, which: ClickFilter, fields: Sequence[str]) -> None:
        self.fields = fields
        self._workspace = workspace
        self._which = which

    def asked(self) -> tuple[Any, ...]:
        which = self._which
        return ("clicks", self._workspace, which.link, which.start, which.end, which.bots)

    def read(self, session: ReadSession, after: Place, idle_seconds: float) -> Iterator[Batch]:
        place = ClickPlace(*after)
        first = place.link + (place.clicked_at is None)
        links = clicked_links(session, self._workspace, first, only=self._which.link)
        return stream_clicks_of(
            session,
            self._workspace,
            links,
            self._which,
            fields=self.fields,
            after=place,
            at_once=ROWS_AT_ONCE,
            idle_seconds=idle_seconds,
        )

    def values(self, row: AnyRow) -> Sequence[Any]:
        return row

    def position_of(self, place: Place) -> list[int]:
        link, clicked_at, click = place
        if clicked_at is None:
            return [link]
        return [link, (clicked_at - _EPOCH) // _MICROSECOND, click]

    def place_of(self, position: Sequence[int]) -> Place:
        if len(position) == 1:
            return ClickPlace(position[0])
        link, microseconds, click = position
        return ClickPlace(link, _EPOCH + timedelta(microseconds=microseconds), click)
