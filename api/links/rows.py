"""A row of links as transfers bring it: what a link is created with, and what it was elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import marshmallow as ma
from marshmallow import validate
from msgspec import UNSET, Meta, UnsetType

from api.core.errors import Invalid
from api.core.loading import Loader, load
from api.core.schemas import EXAMPLE_TIME, StrictInteger, UtcTime
from api.links.plain import MOST, PlainLink, read_plain
from api.links.schemas import LinkIn

# Of an export: what it tells of a link beside the fields that a link is made of.
IGNORED: Final = frozenset(("id", "short_url", "has_password", "updated_at"))
_TIMES = ("starts_at", "expires_at", "created_at", "last_clicked_at")
_PAST = ("created_at", "last_clicked_at")
# Clocks differ.
_SLACK = timedelta(minutes=5)
State = Literal["active", "disabled", "scheduled", "expired", "exhausted"]


class LinkRow(LinkIn):
    """A row of links."""

    state = ma.fields.String(
        validate=validate.OneOf(State.__args__),  # type: ignore[attr-defined]
        metadata={"description": "All but `disabled` follow from the other fields."},
    )
    created_at = UtcTime(metadata={"example": EXAMPLE_TIME})
    clicks = StrictInteger(
        validate=validate.Range(0, MOST), metadata={"description": "So far.", "example": 1024}
    )
    last_clicked_at = UtcTime(allow_none=True, metadata={"example": EXAMPLE_TIME})

    class Meta(LinkIn.Meta):
        pass


_Count = Annotated[int, Meta(ge=0, le=MOST)]


class _Plain(PlainLink, forbid_unknown_fields=True, gc=False):
    """What of a row can be proved at once."""

    state: State | UnsetType = UNSET
    created_at: str | UnsetType = UNSET
    last_clicked_at: str | UnsetType | None = UNSET
    clicks: _Count | UnsetType = UNSET
    id: Any = UNSET
    short_url: Any = UNSET
    has_password: Any = UNSET
    updated_at: Any = UNSET


_LOADER = Loader(LinkRow())
# Those that a row, or a column, may have.
NAMES: Final = frozenset(LinkRow().load_fields) | IGNORED


def read_row(document: Any) -> dict[str, Any]:
    """The values of a row, as its schema says; `has_password` where there is one that is not told.

    Raises:
        Invalid: with one error per field, each named by its JSON pointer.
    """
    values = _read_plain(document)
    if values is None:
        if isinstance(document, dict):
            document = {name: it for name, it in document.items() if name not in IGNORED}
        values = load(_LOADER, document)
    if document.get("has_password") is True and not values.get("password"):
        values["has_password"] = True  # one that is not told
    for name in _PAST:
        moment = values.get(name)
        if moment is not None and moment > datetime.now(UTC) + _SLACK:
            raise Invalid.field(f"/{name}", "Must not be in the future.")
    return values


def _read_plain(document: Any) -> dict[str, Any] | None:
    return read_plain(document, _Plain, _TIMES, IGNORED)
