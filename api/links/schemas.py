"""What comes in and goes out about links."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import marshmallow as ma
from marshmallow import validate

from api.core.database.sessions import AnyRow
from api.core.passwords import MAX_PASSWORD_LENGTH
from api.core.safe_url import MAX_URL_LENGTH
from api.core.schemas import (
    EXAMPLE_TIME,
    Id,
    PageQuery,
    Schema,
    StrictBoolean,
    StrictInteger,
    UtcTime,
    page_of,
)
from api.core.slugs import MAX_LENGTH as MAX_SLUG_LENGTH
from api.links.filter_schema import STATES, LinkFilterIn
from api.links.metadata import complaint
from api.links.models import Link
from api.links.service import state_of
from api.links.store import COLUMNS

MAX_BATCH = 1_000
_WRITABLE_STATES = ("active", "disabled")
_STATUSES = (301, 302, 307, 308)
_COLOUR = r"#[0-9A-Fa-f]{6}"


class Metadata(ma.fields.Dict):
    """A small JSON object of the client's own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            keys=ma.fields.String(validate=validate.Length(1, 100)),
            metadata={
                "description": "An object of your own: at most 50 names, 16 KiB, 5 levels.",
                "example": {"campaign_id": 42},
            },
            **kwargs,
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        content: dict[str, Any] = super()._deserialize(value, attr, data, **kwargs)  # type: ignore[no-untyped-call]
        if wrong := complaint(content):
            raise ma.ValidationError(wrong)
        return content


def _tags(**kwargs: Any) -> ma.fields.List[str]:
    return ma.fields.List(
        ma.fields.String(
            validate=validate.And(
                validate.Length(1, 50),
                validate.Regexp(r"\S(.*\S)?\Z", error="No white space at the ends."),
            )
        ),
        validate=validate.Length(max=20),
        metadata={"description": "Up to 20 words to group links by.", "example": ["spring"]},
        **kwargs,
    )


def _fields(*, patch: bool) -> dict[str, ma.fields.Field[Any]]:
    """The fields that a client sets; in a patch, those that may be absent may also be null."""
    null: dict[str, Any] = {"allow_none": True}
    return {
        "url": ma.fields.String(
            required=not patch,
            validate=validate.Length(1, MAX_URL_LENGTH),
            metadata={
                "description": "Where the link leads: an absolute URL (WHATWG URL standard).",
                "example": "https://example.com/spring?ref=mail",
            },
        ),
        "title": ma.fields.String(
            validate=validate.Length(max=500), metadata={"example": "Spring sale"}, **null
        ),
        "tags": _tags(**(null if patch else {})),
        "starts_at": UtcTime(
            metadata={"description": "Until then the link answers 404.", "example": None}, **null
        ),
        "expires_at": UtcTime(
            metadata={"description": "From then on the link answers 410.", "example": None}, **null
        ),
        "max_clicks": StrictInteger(
            validate=validate.Range(1, (1 << 53) - 1),
            metadata={"description": "Redirects granted before 410.", "example": None},
            **null,
        ),
        "password": ma.fields.String(
            validate=validate.Length(1, MAX_PASSWORD_LENGTH),
            metadata={"description": "Asked of every visitor.", "example": None},
            **null,
        ),
        "redirect_status": StrictInteger(
            validate=validate.OneOf(_STATUSES),
            metadata={"description": "HTTP status of the redirect.", "example": 302},
        ),
        "forward_query": StrictBoolean(
            metadata={"description": "Pass the visitor's query on to the target.", "example": False}
        ),
        "state": ma.fields.String(
            validate=validate.OneOf(_WRITABLE_STATES),
            metadata={"description": "`disabled`: answers 404 for now.", "example": "active"},
        ),
        "metadata": Metadata(**(null if patch else {})),
    }


class LinkIn(Schema.from_dict(_fields(patch=False))):  # type: ignore[misc]
    """A link to create."""

    slug = ma.fields.String(
        validate=validate.Length(1, MAX_SLUG_LENGTH),
        metadata={
            "description": "Letters and digits of any script, `-`, `_`, `.`; default: generated.",
            "example": "spring-sale",
        },
    )
    domain = ma.fields.String(
        validate=validate.Length(1, 253),
        metadata={"description": "A domain of the workspace; default: the default domain."},
    )

    class Meta(Schema.Meta):
        pass


class LinkPatch(Schema.from_dict(_fields(patch=True))):  # type: ignore[misc]
    """Changes of a link; null clears a field. Slug and domain are for life."""

    class Meta(Schema.Meta):
        pass


class LinkOut(Schema):
    """A link."""

    id = Id(required=True)
    slug = ma.fields.String(required=True, metadata={"example": "spring-sale"})
    domain = ma.fields.String(required=True, metadata={"example": "go.example.com"})
    short_url = ma.fields.String(
        required=True, metadata={"example": "https://go.example.com/spring-sale"}
    )
    url = ma.fields.String(
        required=True, metadata={"example": "https://example.com/spring?ref=mail"}
    )
    state = ma.fields.String(
        required=True, validate=validate.OneOf(STATES), metadata={"example": "active"}
    )
    title = ma.fields.String(required=True, allow_none=True, metadata={"example": "Spring sale"})
    tags = ma.fields.List(ma.fields.String(), required=True, metadata={"example": ["spring"]})
    starts_at = UtcTime(required=True, allow_none=True, metadata={"example": None})
    expires_at = UtcTime(required=True, allow_none=True, metadata={"example": None})
    max_clicks = ma.fields.Integer(required=True, allow_none=True, metadata={"example": None})
    has_password = ma.fields.Boolean(required=True, metadata={"example": False})
    redirect_status = ma.fields.Integer(required=True, metadata={"example": 302})
    forward_query = ma.fields.Boolean(required=True, metadata={"example": False})
    metadata = ma.fields.Dict(required=True, metadata={"example": {"campaign_id": 42}})
    clicks = ma.fields.Integer(
        required=True,
        metadata={"description": "All redirects counted so far, bots included.", "example": 1024},
    )
    created_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    updated_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})


FIELDS = tuple(LinkOut().fields)


class _FieldList(ma.fields.String):
    """`id,url,clicks` as a tuple of field names of `LinkOut`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        names = super()._deserialize(value, attr, data, **kwargs).split(",")
        for name in names:
            if name not in COLUMNS:
                raise ma.ValidationError(f"No such field: {name[:50]!r}.")
        return tuple(name for name in FIELDS if name in names)


class LinkQuery(PageQuery, LinkFilterIn):
    """The parameters of the list of links."""

    sort = ma.fields.String(
        load_default="-created_at",
        validate=validate.OneOf(("-created_at", "created_at", "-updated_at", "updated_at")),
        metadata={"description": "Order; `-` is descending."},
    )
    fields_ = _FieldList(
        data_key="fields",
        load_default=FIELDS,
        validate=validate.Length(max=len(FIELDS)),
        metadata={"description": "Only these fields, comma-separated.", "example": "id,url,clicks"},
    )


class CreateQuery(Schema):
    """The parameters of creation."""

    find_existing = ma.fields.Boolean(
        load_default=False,
        metadata={
            "description": "Answer 200 with an active link that already is what the body asks for."
        },
    )


class OperationIn(Schema):
    """One operation of a batch."""

    op = ma.fields.String(
        required=True,
        validate=validate.OneOf(("create", "update", "delete")),
        metadata={"example": "create"},
    )
    id = Id(metadata={"description": "Of the link to update or delete."})
    link = ma.fields.Dict(
        metadata={
            "description": "The link to create, or the changes.",
            "example": {"url": "https://example.com/spring"},
        }
    )


class _Objects(ma.fields.List[dict[str, Any]]):
    """A list of objects, each of which is looked at by itself later."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(ma.fields.Dict(), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) is list and all(type(each) is dict for each in value):
            return value
        return super()._deserialize(value, attr, data, **kwargs)


class BatchIn(Schema):
    """Up to 1,000 operations."""

    operations = _Objects(
        required=True,
        validate=validate.Length(1, MAX_BATCH),
        metadata={
            "description": "Performed in their order. Each is an object with `op` (`create`, "
            "`update` or `delete`), `id` (update, delete) and `link` (create, update).",
            "example": [{"op": "create", "link": {"url": "https://example.com/spring"}}],
        },
    )
    atomic = StrictBoolean(
        load_default=False,
        metadata={
            "description": "All or nothing: when one operation fails none is performed, and the "
            "answer is the problem `batch-undone`, whose `results` say which failed; 424 are those "
            "that would have gone well. All links must be in one database (shard).",
            "example": False,
        },
    )


class ResultOut(Schema):
    """What came of one operation."""

    status = ma.fields.Integer(required=True, metadata={"example": 201})
    link = ma.fields.Nested(LinkOut)
    problem = ma.fields.Dict(metadata={"description": "RFC 9457 problem details."})


class BatchOut(Schema):
    """One result per operation, in the same order."""

    results = ma.fields.List(ma.fields.Nested(ResultOut), required=True)


class QrQuery(Schema):
    """How a QR code looks."""

    format = ma.fields.String(
        validate=validate.OneOf(("svg", "png")),
        metadata={"description": "Default: by `Accept`, else SVG."},
    )
    scale = ma.fields.Integer(
        load_default=8,
        validate=validate.Range(1, 40),
        metadata={"description": "Pixels per module."},
    )
    border = ma.fields.Integer(
        load_default=4,
        validate=validate.Range(0, 20),
        metadata={"description": "Modules of quiet zone; scanners expect 4."},
    )
    error = ma.fields.String(
        load_default="m",
        validate=validate.OneOf(("l", "m", "q", "h")),
        metadata={"description": "Error correction: 7, 15, 25 or 30 % of the code."},
    )
    dark = ma.fields.String(load_default="#000000", validate=validate.Regexp(_COLOUR + r"\Z"))
    light = ma.fields.String(
        load_default="#ffffff", validate=validate.Regexp(rf"({_COLOUR}|transparent)\Z")
    )


LINK_IN = LinkIn()
LINK_PATCH = LinkPatch()
LINK_QUERY = LinkQuery()
LINK_PAGE = page_of(LinkOut)
CREATE_QUERY = CreateQuery()
OPERATION_IN = OperationIn()
BATCH_IN = BatchIn()
BATCH_OUT = BatchOut()
QR_QUERY = QrQuery()


class Presenter:
    """Shapes links as `LinkOut`, without a schema's cost: lists are hot."""

    def __init__(self, public_url: str, default_domain: str) -> None:
        self._public_url = public_url
        self._default_domain = default_domain
        self._scheme = public_url.partition("://")[0]

    def short_url(self, domain: str, slug: str) -> str:
        """The address that visitors open, percent-encoded: safe to paste anywhere."""
        if not (slug.isascii() and slug.isalnum()):
            slug = quote(slug, safe="/")
        if domain == self._default_domain:
            return f"{self._public_url}/{slug}"
        return f"{self._scheme}://{domain}/{slug}"

    def link(
        self, row: AnyRow, fields: tuple[str, ...] = FIELDS, now: datetime | None = None
    ) -> dict[str, Any]:
        """The chosen fields of a link, as it is `now`."""
        now = now or datetime.now(UTC)
        if fields == FIELDS:
            return self._whole(row, now)
        shown: dict[str, Any] = {}
        for name in fields:
            if name == "id":
                shown[name] = str(row.id)
            elif name == "short_url":
                shown[name] = self.short_url(row.domain, row.slug)
            elif name == "state":
                shown[name] = state_of(row, now)
            elif name == "metadata":
                shown[name] = getattr(row, Link.custom.key)
            else:
                shown[name] = getattr(row, name)
        return shown

    def _whole(self, row: AnyRow, now: datetime) -> dict[str, Any]:
        """The same of all fields, written out: most lists ask for nothing less."""
        return {
            "id": str(row.id),
            "slug": row.slug,
            "domain": row.domain,
            "short_url": self.short_url(row.domain, row.slug),
            "url": row.url,
            "state": state_of(row, now),
            "title": row.title,
            "tags": row.tags,
            "starts_at": row.starts_at,
            "expires_at": row.expires_at,
            "max_clicks": row.max_clicks,
            "has_password": row.has_password,
            "redirect_status": row.redirect_status,
            "forward_query": row.forward_query,
            "metadata": row.custom,
            "clicks": row.clicks,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }
