"""JSON Merge Patch of metadata (RFC 7396)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.links.metadata import complaint, merge_patch

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=2), VALUES, max_size=4)


def has_null(value: Any) -> bool:
    return isinstance(value, dict) and any(v is None or has_null(v) for v in value.values())


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [  # RFC 7396, appendix A, as far as it is about objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_examples_of_the_rfc(target: Any, patch: Any, merged: Any) -> None:
    assert merge_patch(target, patch) == merged


@given(OBJECTS, OBJECTS)
def test_patch_applied_twice_is_the_patch_applied_once(
    target: dict[str, Any], patch: dict[str, Any]
) -> None:
    before = repr(target)
    once = merge_patch(target, patch)
    assert repr(target) == before
    assert merge_patch(once, patch) == once
    assert once.keys() == {*target, *patch} - {name for name, v in patch.items() if v is None}


@given(OBJECTS)
def test_patch_of_nothing_drops_the_nulls(patch: dict[str, Any]) -> None:
    assert not has_null(merge_patch({}, patch))


def test_bounds() -> None:
    assert complaint({}) is None
    assert complaint({"a": [[[[[]]]]]}) == "Nested deeper than 5 levels."
    assert complaint({"a": [[[[]]]]}) is None
    assert complaint(dict.fromkeys(map(str, range(51)))) == "More than 50 names."
    assert complaint({"a": "x" * 16_384}) == "Larger than 16 KiB."
