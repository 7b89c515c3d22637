"""A row of links as transfers bring it: what a link is created with, and what it was elsewhere.

Most rows are plain, and for those the schema's own ways cost ten times what there is to be done:
`msgspec` proves them right, in C, and whatever it cannot prove is given to the schema.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import marshmallow as ma
import msgspec
from marshmallow import validate
from msgspec import UNSET, Meta, Struct, UnsetType

from api.core.errors import Invalid
from api.core.loading import Loader, load
from api.core.passwords import MAX_PASSWORD_LENGTH
from api.core.safe_url import MAX_URL_LENGTH
from api.core.schemas import EXAMPLE_TIME, StrictInteger, UtcTime
from api.core.slugs import MAX_LENGTH as MAX_SLUG_LENGTH
from api.links.metadata import complaint
from api.links.schemas import LinkIn

# Of an export: what it tells of a link beside the fields that a link is made of.
IGNORED: Final = frozenset(("id", "short_url", "has_password", "updated_at"))
_TIMES = ("starts_at", "expires_at", "created_at", "last_clicked_at")
_PAST = ("created_at", "last_clicked_at")
_MOST = (1 << 53) - 1
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
        validate=validate.Range(0, _MOST), metadata={"description": "So far.", "example": 1024}
    )
    last_clicked_at = UtcTime(allow_none=True, metadata={"example": EXAMPLE_TIME})

    class Meta(LinkIn.Meta):
        pass


_Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL_LENGTH)]
_Slug = Annotated[str, Meta(min_length=1, max_length=MAX_SLUG_LENGTH)]
_Domain = Annotated[str, Meta(min_length=1, max_length=253)]
_Title = Annotated[str, Meta(max_length=500)]
_Tag = Annotated[str, Meta(min_length=1, max_length=50)]
_Tags = Annotated[list[_Tag], Meta(max_length=20)]
_Password = Annotated[str, Meta(min_length=1, max_length=MAX_PASSWORD_LENGTH)]
_Limit = Annotated[int, Meta(ge=1, le=_MOST)]
_Count = Annotated[int, Meta(ge=0, le=_MOST)]
_Name = Annotated[str, Meta(min_length=1, max_length=100)]


class _Plain(Struct, forbid_unknown_fields=True, gc=False):
    """What of a row can be proved at once; never more than the schema lets through."""

    url: _Url
    slug: _Slug | UnsetType = UNSET
    domain: _Domain | UnsetType = UNSET
    title: _Title | UnsetType | None = UNSET
    tags: _Tags | UnsetType = UNSET
    starts_at: str | UnsetType | None = UNSET
    expires_at: str | UnsetType | None = UNSET
    created_at: str | UnsetType = UNSET
    last_clicked_at: str | UnsetType | None = UNSET
    max_clicks: _Limit | UnsetType | None = UNSET
    clicks: _Count | UnsetType = UNSET
    password: _Password | UnsetType | None = UNSET
    redirect_status: Literal[301, 302, 307, 308] | UnsetType = UNSET
    forward_query: bool | UnsetType = UNSET
    state: State | UnsetType = UNSET
    metadata: dict[_Name, Any] | UnsetType = UNSET
    id: Any = UNSET
    short_url: Any = UNSET
    has_password: Any = UNSET
    updated_at: Any = UNSET


_LOADER = Loader(LinkRow())
# Those that a row, or a column, may have.
NAMES: Final = frozenset(LinkRow().load_fields) | IGNORED
_NUMBERS = ("max_clicks", "clicks", "redirect_status")


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
    """The values of a row that is plain; None where it may be, or is not, right."""
    try:
        msgspec.convert(document, _Plain)
        values = {name: value for name, value in document.items() if name not in IGNORED}
        for name in _TIMES:
            if values.get(name) is not None:
                moment = datetime.fromisoformat(values[name])
                if moment.tzinfo is None:
                    return None
                values[name] = moment.astimezone(UTC)
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None
    if not all(map(_is_plain_tag, values.get("tags", ()))):
        return None
    if any(type(values.get(name, 0)) not in (int, type(None)) for name in _NUMBERS):
        return None
    if values.get("metadata") and complaint(values["metadata"]):
        return None
    return values


def _is_plain_tag(tag: str) -> bool:
    """Whether nothing in it is white space but blanks between others."""
    return tag.isprintable() and tag[0] != " " and tag[-1] != " "
