"""The two statements of the redirect path, in plain SQL: no ORM object is made on it."""

from __future__ import annotations

from sqlalchemy import text

from api.core.database.routing import ReadSession, WriteSession
from api.redirects.cache import Target

_TARGET = text(
    """
    SELECT slot, id, workspace_id, url, starts_at, expires_at, max_clicks IS NOT NULL,
           password_hash, redirect_status, forward_query, enabled, deleted_at IS NOT NULL
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


def get_target(session: ReadSession, slot: int, domain: str, slug: str) -> Target | None:
    """What `domain/slug` leads to."""
    row = session.execute(_TARGET, {"slot": slot, "domain": domain, "slug": slug}).one_or_none()
    return None if row is None else Target(*row)


def update_uses(session: WriteSession, slot: int, identifier: int) -> bool:
    """Take one use of a limited link; False when none is left."""
    return session.execute(_GRANT, {"slot": slot, "id": identifier}).first() is not None
