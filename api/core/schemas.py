"""Schema parts that every module uses: times, ids, text, pages and problems."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.ids import MAX_ID
from api.core.pagination import DEFAULT_LIMIT, MAX_LIMIT

EXAMPLE_TIME = "2026-03-01T09:30:00Z"
EXAMPLE_ID = "41582915018752001"


class Schema(ma.Schema):
    """A schema that refuses what it does not know."""

    class Meta:
        unknown = ma.RAISE


class UtcTime(ma.fields.AwareDateTime):
    """A moment in RFC 3339; the offset is required, and it is kept in UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str):
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE)
        try:
            moment = super()._deserialize(value, attr, data, **kwargs)
            return moment.astimezone(UTC)
        except (OverflowError, ValueError):
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None


class Id(ma.fields.String):
    """A 63-bit number as a string of digits: JavaScript would round the number."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"example": EXAMPLE_ID, "pattern": "^[0-9]{1,19}$"} | kwargs.pop("metadata", {})
        super().__init__(metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, attr, data, **kwargs)
        if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= MAX_ID):
            raise ma.ValidationError("Not an id: a string of digits.")
        return int(text)


class StrictInteger(ma.fields.Integer):
    """A JSON number without a fraction; neither `true` nor a string."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strict=True, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, bool | str):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class StrictBoolean(ma.fields.Boolean):
    """`true` or `false`, not a word for it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class PageQuery(Schema):
    """The parameters of every list."""

    limit = ma.fields.Integer(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1, MAX_LIMIT),
        metadata={"description": "Rows in a page.", "example": 50},
    )
    cursor = ma.fields.String(
        load_default=None,
        validate=validate.Length(1, 1000),
        metadata={"description": "`next_cursor` of the page before."},
    )


def page_of(item: type[Schema]) -> Schema:
    """The schema of a page of `item`."""
    fields: dict[str, ma.fields.Field[Any]] = {
        "data": ma.fields.List(ma.fields.Nested(item), required=True),
        "next_cursor": ma.fields.String(
            required=True,
            allow_none=True,
            metadata={"description": "Where the next page begins; null on the last."},
        ),
    }
    return Schema.from_dict(fields, name=item.__name__.removesuffix("Out") + "Page")()  # type: ignore[return-value]


class ProblemError(Schema):
    """One field that does not validate."""

    pointer = ma.fields.String(
        metadata={"description": "JSON pointer into the body.", "example": "/url"}
    )
    parameter = ma.fields.String(metadata={"description": "Name of a query parameter."})
    header = ma.fields.String(metadata={"description": "Name of a request header."})
    detail = ma.fields.String(required=True, metadata={"example": "Not a valid absolute URL."})


class Problem(ma.Schema):
    """RFC 9457 problem details."""

    type = ma.fields.String(
        required=True, metadata={"example": "urn:signpost:problem:validation-failed"}
    )
    title = ma.fields.String(required=True, metadata={"example": "The request does not validate"})
    status = ma.fields.Integer(required=True, metadata={"example": 422})
    detail = ma.fields.String(metadata={"example": "/url: Not a valid absolute URL."})
    instance = ma.fields.String(
        required=True,
        metadata={
            "description": "The request id.",
            "example": "urn:request:8f14e45fceea467a9d3b0e5a8a1c2b3d",
        },
    )
    errors = ma.fields.List(ma.fields.Nested(ProblemError))
    results = ma.fields.List(
        ma.fields.Dict(),
        metadata={"description": "Of a batch that was undone: what came of each operation."},
    )
