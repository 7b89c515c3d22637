"""What comes in and goes out about erasures."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import validate

from api.core.schemas import EXAMPLE_TIME, Id, Schema, UtcTime
from api.transfers.erasure.service import Erasure


class WorkspaceErasureIn(Schema):
    """The confirmation."""

    name = ma.fields.String(
        required=True,
        validate=validate.Length(1, 200),
        metadata={"description": "The name of the workspace.", "example": "Acme"},
    )


class WorkspaceErasureOut(Schema):
    """What is known of an erasure."""

    workspace_id = Id(required=True)
    state = ma.fields.String(
        required=True,
        validate=validate.OneOf(("erasing", "erased")),
        metadata={"example": "erased"},
    )
    asked_at = UtcTime(required=True, metadata={"example": EXAMPLE_TIME})
    finished_at = UtcTime(required=True, allow_none=True, metadata={"example": EXAMPLE_TIME})
    erased = ma.fields.Dict(
        keys=ma.fields.String(),
        values=ma.fields.Integer(),
        required=True,
        metadata={"description": "Rows by table.", "example": {"links": 1024}},
    )
    certificate = ma.fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "A JWS, once it is erased: the proof.", "example": None},
    )


class NewWorkspaceErasureOut(WorkspaceErasureOut):
    """The same with what only whoever asked is told."""

    token = ma.fields.String(
        required=True,
        metadata={"description": "Names the erasure from then on; shown this once."},
    )


ERASURE_IN = WorkspaceErasureIn()


def present_erasure(erasure: Erasure, certificate: str | None) -> dict[str, Any]:
    """An erasure as it is shown."""
    return {
        "workspace_id": str(erasure.workspace_id),
        "state": erasure.state,
        "asked_at": erasure.asked_at,
        "finished_at": erasure.finished_at,
        "erased": dict(erasure.erased),
        "certificate": certificate,
    }
