"""What may be asked of exports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.clicks.service import ClickPlace
from api.core.schemas import EXAMPLE_ID, EXAMPLE_TIME, Id, Schema, UtcTime
from api.links.filter_schema import LinkFilterIn
from api.transfers.exports.formats import CONTENT_TYPES
from api.transfers.exports.kinds import Clicks, Links

_ID = Id()
_TIME = UtcTime()


class _FieldList(ma.fields.String):
    """`id,url,clicks` as a tuple of field names, in the order of all."""

    def __init__(self, names: Sequence[str], default: Sequence[str]) -> None:
        self._names = names
        super().__init__(
            data_key="fields",
            load_default=tuple(default),
            validate=validate.Length(max=len(names)),
            metadata={
                "description": f"Only these fields, comma-separated, of {', '.join(names)}. "
                "Without those that `after` takes it cannot go on after a broken connection.",
                "example": ",".join(default[:3]),
            },
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        names = super()._deserialize(value, attr, data, **kwargs).split(",")
        for name in names:
            if name not in self._names:
                raise ma.ValidationError(f"No such field: {name[:50]!r}.")
        return tuple(name for name in self._names if name in names)


class _After(ma.fields.String):
    """`LINK_ID,CLICKED_AT,ID` of a click."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        parts = super()._deserialize(value, attr, data, **kwargs).split(",")
        if len(parts) != 3:
            raise ma.ValidationError("Not `link_id`, `clicked_at` and `id`, separated by commas.")
        link, clicked_at, click = parts
        return ClickPlace(
            int(_ID.deserialize(link)), _TIME.deserialize(clicked_at), int(_ID.deserialize(click))
        )


class _LinkAfter(Id):
    """The id of a link."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return (super()._deserialize(value, attr, data, **kwargs),)


class ExportIn(Schema):
    """How an export is written."""

    format = ma.fields.String(
        load_default=None,
        validate=validate.OneOf(tuple(CONTENT_TYPES)),
        metadata={"description": "Default: by `Accept`, else NDJSON."},
    )
    escape_formulas = ma.fields.Boolean(
        load_default=False,
        metadata={
            "description": "CSV: put an apostrophe before text that a spreadsheet would take for a "
            "formula."
        },
    )
    trailer = ma.fields.Boolean(
        load_default=False,
        metadata={"description": "CSV: a last line `#end,complete,rows,cursor`."},
    )
    cursor = ma.fields.String(
        load_default=None,
        validate=validate.Length(1, 1000),
        metadata={"description": "Go on where an export of the same filters says so at its end."},
    )


class LinkExportIn(ExportIn, LinkFilterIn):
    """An export of links."""

    after = _LinkAfter(
        load_default=None,
        metadata={
            "description": "Go on after the link with this `id`: the last that was received.",
            "example": EXAMPLE_ID,
        },
    )
    fields_ = _FieldList(Links.all_fields, Links.default_fields)


class ClickExportIn(ExportIn):
    """An export of clicks."""

    link = Id(
        load_default=None,
        metadata={"description": "Only those of this link; it may be a deleted one."},
    )
    start = UtcTime(
        data_key="from",
        load_default=None,
        metadata={"description": "Inclusive.", "example": EXAMPLE_TIME},
    )
    end = UtcTime(
        data_key="to",
        load_default=None,
        metadata={"description": "Exclusive.", "example": EXAMPLE_TIME},
    )
    bots = ma.fields.String(
        load_default="include", validate=validate.OneOf(("include", "exclude", "only"))
    )
    after = _After(
        load_default=None,
        metadata={
            "description": "Go on after this click: `link_id`, `clicked_at` and `id` of the last "
            "that was received, separated by commas.",
            "example": f"{EXAMPLE_ID},{EXAMPLE_TIME},7",
        },
    )
    fields_ = _FieldList(Clicks.all_fields, Clicks.default_fields)


LINK_EXPORT_IN = LinkExportIn()
CLICK_EXPORT_IN = ClickExportIn()
