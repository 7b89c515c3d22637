"""A loader reads what its schema reads, and refuses what it refuses, in the same words."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.core.loading import Loader
from api.identity.schemas import KEY_IN
from api.links.schemas import CREATE_QUERY, LINK_IN, LINK_PATCH, LINK_QUERY, QR_QUERY

SCHEMAS = (LINK_IN, LINK_PATCH, LINK_QUERY, CREATE_QUERY, QR_QUERY, KEY_IN)
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 400)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(
        ("https://example.com/", "active", "50", "id,url", "-created_at", "2026-03-01T09:30:00Z")
    )
    | st.lists(st.text(max_size=3) | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)


def outcome(load: Any, document: Any) -> Any:
    try:
        return load(document)
    except ma.ValidationError as error:
        return error.messages


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: type(schema).__name__)
def test_loader_agrees_with_its_schema(schema: ma.Schema) -> None:
    names = sorted(field.data_key or name for name, field in schema.load_fields.items())

    @given(st.dictionaries(st.sampled_from([*names, "unknown"]), VALUES, max_size=4) | VALUES)
    def agree(document: Any) -> None:
        assert outcome(Loader(schema).load, document) == outcome(schema.load, document)

    agree()


class Whole(ma.Schema):
    """A schema with a rule that no field has."""

    first = ma.fields.Integer(load_default=1)
    second = ma.fields.Integer(load_default=2)

    @ma.validates_schema
    def compare(self, data: dict[str, int], **_: Any) -> None:
        if data["first"] > data["second"]:
            raise ma.ValidationError("In the wrong order.")


def test_rules_of_a_whole_schema_are_kept() -> None:
    assert Loader(Whole()).load({}) == {"first": 1, "second": 2}
    with pytest.raises(ma.ValidationError, match="In the wrong order"):
        Loader(Whole()).load({"first": 3})
