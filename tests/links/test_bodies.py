"""Bodies that no client should send: each is refused, none is an error of ours."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.answers import problem, wrong_fields
from tests.caller import Caller

FIELDS = (
    "url slug domain title tags starts_at expires_at max_clicks password redirect_status "
    "forward_query state metadata"
).split()
ODD_VALUES = (
    *("null", "1", "-1", "1.5", "1e300", "9" * 40, "true", '"x"', '""', "[]", "[[]]", "[null]"),
    *("{}", '{"a": null}', '[{"a": [1]}]', r'"\ud83d\ude00"', '"\u202e"'),
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"NaN",
        b'{"url": NaN}',
        b'{"url": "https://e.com", "metadata": {"a": 1e999}}',
        b'{"url": "\xff"}',
        rb'{"url": "\ud800"}',
        b'{"url": "a\x00b"}',
        b'{"url": "https://e.com"} {}',
        b"[" * 200_000,
        b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
    ],
)
def test_body_that_is_no_json_answers_400(caller: Caller, body: bytes) -> None:
    response = caller.post("/links", data=body, content_type="application/json")
    problem(response, 400, "bad-request")


@pytest.mark.parametrize("body", ["[]", "null", "1", '"x"', "[{}]"])
def test_body_that_is_no_object_answers_422(caller: Caller, body: str) -> None:
    link = caller.create_link()
    for method, path in (("POST", "/links"), ("PATCH", f"/links/{link['id']}")):
        response = caller.request(method, path, data=body, content_type="application/json")
        assert wrong_fields(response) == [""]


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_body_of_another_type_answers_415(caller: Caller, media_type: str | None) -> None:
    body = '{"url": "https://example.com/"}'
    response = caller.post("/links", data=body, content_type=media_type)
    problem(response, 415, "unsupported-media-type")
    assert response.headers["Accept"] == "application/json"


def test_body_past_the_limit_answers_413(caller: Caller) -> None:
    body = '{"url": "https://example.com/"}' + " " * (2 * 1024 * 1024)
    response = caller.post("/links", data=body, content_type="application/json")
    problem(response, 413)


def test_merge_patch_type_is_for_patches_only(caller: Caller) -> None:
    link = caller.create_link()
    options = {"data": '{"title": "x"}', "content_type": "application/merge-patch+json"}
    assert caller.patch(f"/links/{link['id']}", **options).status_code == 200
    problem(caller.post("/links", **options), 415)


def test_the_last_of_two_members_with_one_name_counts(caller: Caller) -> None:
    body = '{"url": "javascript:1", "url": "https://example.com/"}'
    response = caller.post("/links", data=body, content_type="application/json")
    assert response.status_code == 201


def test_odd_values_are_never_an_error_of_ours(caller: Caller) -> None:
    link = caller.create_link()
    url = {"url": '"https://example.com/"'}
    for name, value in itertools.product(FIELDS, ODD_VALUES):
        created = url | {name: value}
        body = "{" + ", ".join(f'"{key}": {text}' for key, text in created.items()) + "}"
        for method, path in (("POST", "/links"), ("PATCH", f"/links/{link['id']}")):
            response = caller.request(method, path, data=body, content_type="application/json")
            assert response.status_code in (200, 201, 409, 422), (method, body, response.text)
    page = caller.get("/links?limit=200")
    assert page.status_code == 200


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_any_metadata_is_kept_or_refused(caller: Caller) -> None:
    link = caller.create_link()

    @settings(max_examples=100, deadline=None)
    @given(st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=4))
    def check(metadata: dict[str, object]) -> None:
        body = json.dumps({"metadata": metadata})
        response = caller.patch(f"/links/{link['id']}", data=body, content_type="application/json")
        assert response.status_code in (200, 400, 422), (metadata, response.text)
        assert caller.get(f"/links/{link['id']}").status_code == 200
        assert caller.patch(f"/links/{link['id']}", {"metadata": None}).status_code == 200

    check()
