"""Links as most documents describe them, read at once.

The schema's own ways cost ten times what there is to be done for a plain link, which is nothing in
a request about one, and half of the work for thousands. `msgspec` proves a document right, in C;
whatever it cannot prove is given to the schema, and so are all complaints.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api.core.loading import Loader, load
from api.core.passwords import MAX_PASSWORD_LENGTH
from api.core.safe_url import MAX_URL_LENGTH
from api.core.slugs import MAX_LENGTH as MAX_SLUG_LENGTH
from api.links.metadata import complaint
from api.links.schemas import LINK_IN

MOST = (1 << 53) - 1
_TIMES = ("starts_at", "expires_at")
# Numbers that JSON tells as whole: not those that only have no fraction.
_NUMBERS = frozenset(("max_clicks", "clicks", "redirect_status"))
_LOADER = Loader(LINK_IN)

_Url = Annotated[str, Meta(min_length=1, max_length=MAX_URL_LENGTH)]
_Slug = Annotated[str, Meta(min_length=1, max_length=MAX_SLUG_LENGTH)]
_Domain = Annotated[str, Meta(min_length=1, max_length=253)]
_Title = Annotated[str, Meta(max_length=500)]
_Tag = Annotated[str, Meta(min_length=1, max_length=50)]
_Tags = Annotated[list[_Tag], Meta(max_length=20)]
_Password = Annotated[str, Meta(min_length=1, max_length=MAX_PASSWORD_LENGTH)]
_Limit = Annotated[int, Meta(ge=1, le=MOST)]
_Name = Annotated[str, Meta(min_length=1, max_length=100)]


class PlainLink(Struct, forbid_unknown_fields=True, gc=False):
    """What of a link to create can be proved at once; never more than the schema lets through."""

    url: _Url
    slug: _Slug | UnsetType = UNSET
    domain: _Domain | UnsetType = UNSET
    title: _Title | UnsetType | None = UNSET
    tags: _Tags | UnsetType = UNSET
    starts_at: str | UnsetType | None = UNSET
    expires_at: str | UnsetType | None = UNSET
    max_clicks: _Limit | UnsetType | None = UNSET
    password: _Password | UnsetType | None = UNSET
    redirect_status: Literal[301, 302, 307, 308] | UnsetType = UNSET
    forward_query: bool | UnsetType = UNSET
    state: Any = UNSET
    metadata: dict[_Name, Any] | UnsetType = UNSET


class _PlainIn(PlainLink, forbid_unknown_fields=True, gc=False):
    state: Literal["active", "disabled"] | UnsetType = UNSET


def read_link(document: Any) -> dict[str, Any]:
    """The values of a link to create, as `LinkIn` says.

    Raises:
        Invalid: with one error per field, each named by its JSON pointer.
    """
    values = read_plain(document, _PlainIn, _TIMES)
    return load(_LOADER, document) if values is None else values


def read_plain(
    document: Any,
    shape: type[PlainLink],
    times: Iterable[str],
    ignored: frozenset[str] = frozenset(),
) -> dict[str, Any] | None:
    """The values of a document that is plain, but for those `ignored`; None where it may be, or is
    not, right. `times` are the names of moments."""
    try:
        msgspec.convert(document, shape)
        values = {name: value for name, value in document.items() if name not in ignored}
        for name in times:
            if values.get(name) is not None:
                moment = datetime.fromisoformat(values[name])
                if moment.tzinfo is None:
                    return None
                values[name] = moment.astimezone(UTC)
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None
    if not all(map(_is_plain_tag, values.get("tags", ()))):
        return None
    if any(type(values[name]) not in (int, type(None)) for name in _NUMBERS & values.keys()):
        return None
    if values.get("metadata") and complaint(values["metadata"]):
        return None
    return values


def _is_plain_tag(tag: str) -> bool:
    """Whether nothing in it is white space but blanks between others."""
    return tag.isprintable() and tag[0] != " " and tag[-1] != " "
