"""What comes in and goes out about imports."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.database.sessions import AnyRow
from api.core.idempotency import MAX_KEY_LENGTH
from api.core.schemas import EXAMPLE_TIME, Id, PageQuery, Schema, UtcTime, page_of

OUTCOMES = ("created", "exists", "overwritten", "failed")
_STATES = ("receiving", "queued", "running", "finished", "failed", "cancelled")


class ImportIn(Schema):
    """How a body is to be imported."""

    conflict = ma.fields.String(
        load_default="fail",
        validate=validate.OneOf(("fail", "skip", "overwrite")),
        metadata={
            "description": "What becomes of a row whose slug is taken: it fails; it is left out, "
            "where the link is the workspace's own; or that link takes the row's fields."
        },
    )
    dry_run = ma.fields.Boolean(
        load_default=False, metadata={"description": "Say what would happen, and write nothing."}
    )
    from_row = ma.fields.Integer(
        load_default=None,
        validate=validate.Range(0, 1 << 53),
        metadata={
            "description": "The body begins behind this many rows, which are here already (of CSV "
            "with its line of names again). Without it the body is sent from its beginning."
        },
    )


class ImportOut(Schema):
    """An import."""

    id = Id(required=True)
    state = ma.fields.String(required=True, validate=validate.OneOf(_STATES))
    dry_run = ma.fields.Boolean(required=True)
    conflict = ma.fields.String(required=True, metadata={"example": "skip"})
    format = ma.fields.String(required=True, metadata={"example": "ndjson"})
    rows = ma.fields.Integer(
        required=True, metadata={"description": "Received so far.", "example": 1_000_000}
    )
    created = ma.fields.Integer(required=True, metadata={"example": 999_000})
    exists = ma.fields.Integer(required=True, metadata={"example": 900})
    overwritten = ma.fields.Integer(required=True, metadata={"example": 0})
    failed = ma.fields.Integer(required=True, metadata={"example": 100})
    progress = ma.fields.Float(
        required=True,
        metadata={"description": "Of what was received, the share that is done.", "example": 1.0},
    )
    created_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    started_at = UtcTime(required=True, allow_none=True, metadata={"example": EXAMPLE_TIME})
    finished_at = UtcTime(required=True, allow_none=True, metadata={"example": EXAMPLE_TIME})
    problem = ma.fields.Dict(
        required=True,
        allow_none=True,
        metadata={"description": "RFC 9457 problem details.", "example": None},
    )


class ImportQuery(PageQuery):
    """The parameters of the list of imports."""

    idempotency_key = ma.fields.String(
        load_default=None,
        validate=validate.Length(1, MAX_KEY_LENGTH),
        metadata={"description": "Only the one that was begun with this `Idempotency-Key`."},
    )


class OutcomeQuery(Schema):
    """Which outcomes are asked for."""

    outcome = ma.fields.String(load_default=None, validate=validate.OneOf(OUTCOMES))


IMPORT_IN = ImportIn()
IMPORT_QUERY = ImportQuery()
IMPORT_PAGE = page_of(ImportOut)
OUTCOME_QUERY = OutcomeQuery()


def present_import(row: AnyRow) -> dict[str, Any]:
    """An import as `ImportOut`."""
    return {
        "id": str(row.id),
        "state": row.state,
        "dry_run": row.dry_run,
        "conflict": row.conflict,
        "format": row.format,
        "rows": row.rows,
        "created": row.created,
        "exists": row.existing,
        "overwritten": row.overwritten,
        "failed": row.failed,
        "progress": _progress(row),
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "problem": row.problem,
    }


def _progress(row: AnyRow) -> float:
    if row.state == "finished":
        return 1.0
    return 0.0 if row.state == "receiving" or not row.rows else row.loaded_rows / row.rows
