"""All clicks of a workspace as a stream: link by link, in the order of their ids, each link's in
the order of their times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Select, String, Text, case, cast, func, select, text, true, tuple_

from api.clicks.models import Click, ClickErasure
from api.core.database.routing import ReadSession
from api.core.database.sessions import AnyRow
from api.core.database.streaming import stream_rows

Rows: TypeAlias = Select[*tuple[Any, ...]]

_EVER = text("timestamptz '-infinity'")
_TEXTS = tuple(column.name for column in Click.__table__.columns if isinstance(column.type, String))
# What each field is selected as: a row is what is shown of a click.
_SHOWN: dict[str, Any] = {
    "id": cast(Click.id, Text),
    "link_id": cast(Click.link_id, Text),
    "clicked_at": Click.clicked_at,
    "bot": Click.bot,
    "visitor": func.lpad(func.to_hex(Click.visitor), 16, "0"),
    **{name: func.nullif(getattr(Click, name), "") for name in _TEXTS},
}
# Of the link, for who has no list of links beside it.
FIELDS_OF_LINKS = ("domain", "slug")
CLICK_FIELDS = (*_SHOWN, *FIELDS_OF_LINKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickFilter:
    """What clicks are narrowed to: those of one link, of a period, of people or of bots."""

    link: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    bots: str = "include"


class ClickPlace(NamedTuple):
    """A place in that order: after a click, or after all clicks of a link."""

    link: int
    clicked_at: datetime | None = None
    click: int = 0


def stream_clicks_of(
    session: ReadSession,
    workspace: int,
    links: Rows,
    which: ClickFilter,
    *,
    fields: Sequence[str],
    after: ClickPlace,
    at_once: int,
    idle_seconds: float,
) -> Iterator[tuple[list[AnyRow], ClickPlace]]:
    """The clicks that `which` names of `links`, which have slot, id, domain and slug; some at a
    time, each time with the place up to which these are all.

    A row has the values of `fields` first, the number of its link last.
    """
    walked = links.subquery("walk")
    # A link without such a click gives a row, too: a step looks at no more links than it gives.
    clicks = _clicks_of(workspace, walked, which, after, fields)
    shown = [(walked if name in FIELDS_OF_LINKS else clicks).c[name] for name in fields]
    statement = (
        select(*shown, clicks.c.at, clicks.c.number, walked.c.id.label("walked"))
        .select_from(walked)
        .outerjoin(clicks, true())
        .order_by(walked.c.id)
    )
    for rows in stream_rows(session, statement, at_once=at_once, idle_seconds=idle_seconds):
        last = rows[-1]
        place = ClickPlace(last.walked, last.at, last.number or 0)
        yield [row for row in rows if row.number is not None], place


def _clicks_of(
    workspace: int, link: Any, which: ClickFilter, after: ClickPlace, fields: Sequence[str]
) -> Any:
    """The clicks of one link, in their order."""
    erased_until = (
        select(ClickErasure.erased_until)
        .where(ClickErasure.slot == link.c.slot, ClickErasure.link_id == link.c.id)
        .correlate(link)
        .scalar_subquery()
    )
    names = [name for name in fields if name not in FIELDS_OF_LINKS]
    clicks = select(
        *(_SHOWN[name].label(name) for name in names),
        Click.clicked_at.label("at"),
        Click.id.label("number"),
    ).where(
        Click.slot == link.c.slot,
        Click.link_id == link.c.id,
        Click.workspace_id == workspace,
        Click.clicked_at > func.coalesce(erased_until, _EVER),
    )
    if which.start is not None:
        clicks = clicks.where(Click.clicked_at >= which.start)
    if which.end is not None:
        clicks = clicks.where(Click.clicked_at < which.end)
    if which.bots != "include":
        clicks = clicks.where(Click.bot if which.bots == "only" else ~Click.bot)
    if after.clicked_at is not None:
        # The first condition follows from the second; it spares what came before.
        here = link.c.id == after.link
        clicks = clicks.where(
            Click.clicked_at >= case((here, after.clicked_at), else_=_EVER),
            ~here | (tuple_(Click.clicked_at, Click.id) > (after.clicked_at, after.click)),
        )
    return clicks.order_by(Click.clicked_at, Click.id).lateral("click")
