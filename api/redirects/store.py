"""The statements of the redirect path, in plain SQL: no ORM object is made on it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text

from api.core.database.routing import ReadSession, WriteSession
from api.redirects.cache import Target

# In the order of the fields of `Target`.
_FIELDS = """links.slot, links.id, workspace_id, url, starts_at, expires_at,
           max_clicks IS NOT NULL, password_hash, redirect_status, forward_query, enabled,
           deleted_at IS NOT NULL"""

_TARGET = text(
    f"""
    SELECT {_FIELDS}
    FROM links
    WHERE slot = :slot AND domain = :domain AND slug = :slug
    """
)

# The condition and the addition are one statement: of two visitors who race for the last click,
# the second waits for the first one's row lock and then sees its count.
_GRANT = text(
    """
    UPDATE links SET uses = uses + 1
    WHERE slot = :slot AND id = :id AND enabled AND deleted_at IS NULL
      AND (max_clicks IS NULL OR uses < max_clicks)
      AND (expires_at IS NULL OR expires_at > now())
    RETURNING uses
    """
)


# The outer join keeps the position of what has no link, so that pages go on behind it; LATERAL
# with its limit keeps the planner from reading all links to join some hundred.
_MOST_CLICKED = text(
    f"""
    SELECT top.magnitude, top.slot, top.link_id, link.*
    FROM (
        SELECT magnitude, slot, link_id
        FROM link_totals
        WHERE (magnitude, slot, link_id) < (:magnitude, :slot, :link_id)
        ORDER BY magnitude DESC, slot DESC, link_id DESC
        LIMIT :limit
    ) AS top
    LEFT JOIN LATERAL (
        SELECT domain, slug, {_FIELDS} FROM links
        WHERE links.slot = top.slot AND links.id = top.link_id
        LIMIT 1
    ) AS link ON true
    ORDER BY top.magnitude DESC, top.slot DESC, top.link_id DESC
    """
)


class Position(NamedTuple):
    """A place in the order of links by clicks, the most clicked first."""

    magnitude: int
    slot: int
    link_id: int


FIRST = Position(32_767, 32_767, (1 << 63) - 1)


class Page(NamedTuple):
    """Some of the most clicked links, and where the next page begins; None at the end."""

    targets: dict[str, Target]
    next: Position | None


def get_target(session: ReadSession, slot: int, domain: str, slug: str) -> Target | None:
    """What `domain/slug` leads to."""
    row = session.execute(_TARGET, {"slot": slot, "domain": domain, "slug": slug}).one_or_none()
    return None if row is None else Target(*row)


def update_uses(session: WriteSession, slot: int, identifier: int) -> bool:
    """Take one use of a limited link; False when none is left."""
    return session.execute(_GRANT, {"slot": slot, "id": identifier}).first() is not None


def find_most_clicked(session: ReadSession, after: Position, limit: int) -> Page:
    """The next most clicked links, but for deleted ones, by `domain/slug`."""
    rows = session.execute(_MOST_CLICKED, {**after._asdict(), "limit": limit}).all()
    targets = {f"{row[3]}/{row[4]}": Target(*row[5:]) for row in rows if row[4] is not None}
    return Page(
        {
            key: target
            for key, target in targets.items()
            if not target.deleted and not session.is_copy(target.slot)
        },
        Position(*rows[-1][:3]) if len(rows) == limit else None,
    )
