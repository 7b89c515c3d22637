"""A row is read in the same way whether it is proved right at once or given to its schema."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.core.errors import Invalid
from api.core.loading import Loader, load
from api.links import rows
from api.links.plain import read_link
from api.links.schemas import LINK_IN

NAMES = (
    "url slug domain title tags starts_at expires_at max_clicks password redirect_status "
    "forward_query state metadata created_at clicks last_clicked_at"
).split()
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())
TEXTS = st.text(max_size=6) | st.sampled_from(
    (
        "https://example.com/",
        "active",
        "expired",
        "2026-03-01T09:30:00Z",
        "2026-03-01 09:30:00+02:00",
        "2026-03-01T09:30:00",
        "2026-W01-1T09:30:00Z",
        "20260301T093000Z",
        "2026-03-01T09:30:00.123456789Z",
        "0001-01-01T00:00:00+14:00",
        "2026-02-30T00:00:00Z",
        "true",
        "a b",
        " a",
        "a\n",
        "\u00a0a",
        "a\u2028b",
        "x" * 51,
        "x" * 129,
        "x" * 501,
    )
)
NUMBERS = st.integers(-2, 400) | st.sampled_from((1 << 53, (1 << 53) - 1, 1 << 70, 302, 302.0, 1.5))
VALUES = (
    st.none()
    | st.booleans()
    | NUMBERS
    | TEXTS
    | TIMES
    | st.lists(TEXTS | NUMBERS, max_size=22)
    | st.dictionaries(TEXTS, TEXTS | NUMBERS | st.lists(NUMBERS, max_size=2), max_size=3)
)
DOCUMENTS = st.dictionaries(st.sampled_from([*NAMES, "unknown"]), VALUES, max_size=4)
# Most of whose fields are right, so that what is seldom wrong is looked at, too.
LIKELY = st.fixed_dictionaries(
    {"url": st.just("https://example.com/")},
    optional={
        "slug": TEXTS,
        "tags": st.lists(TEXTS, max_size=3),
        "title": st.none() | TEXTS,
        "created_at": TIMES | TEXTS,
        "expires_at": st.none() | TIMES | TEXTS,
        "clicks": NUMBERS,
        "max_clicks": st.none() | NUMBERS,
        "redirect_status": NUMBERS,
        "state": TEXTS,
        "metadata": st.dictionaries(TEXTS, TEXTS | NUMBERS, max_size=3),
        "forward_query": st.booleans() | st.integers(0, 1),
    },
)


def outcome(read: Any, document: Any) -> Any:
    try:
        return read(document)
    except Invalid as error:
        return error.extra["errors"]


# Threads that other tests have left may use `random` meanwhile.
@pytest.mark.filterwarnings("ignore:Do not use the .random. module")
@given(DOCUMENTS | LIKELY | VALUES)
@settings(max_examples=400)
@example({"url": "https://example.com/", "metadata": {"a": {"b": {"c": {"d": {"e": {}}}}}}})
@example({"url": "https://example.com/", "clicks": True})
@example({"url": "https://example.com/", "clicks": 1.0})
@example({"url": "https://example.com/", "redirect_status": 302.0})
def test_what_is_proved_is_what_the_schema_says(document: Any) -> None:
    try:
        document = orjson.loads(json.dumps(document))
    except orjson.JSONDecodeError:
        return
    proved = rows._read_plain(document)
    said = outcome(lambda it: load(rows._LOADER, it), document)
    assert proved is None or proved == said


@pytest.mark.filterwarnings("ignore:Do not use the .random. module")
@given(DOCUMENTS | LIKELY | VALUES)
@settings(max_examples=200)
@example({"url": "https://example.com/", "state": "expired"})
@example({"url": "https://example.com/", "tags": [], "starts_at": None, "state": "disabled"})
def test_links_of_batches_are_read_as_their_schema_says(document: Any) -> None:
    try:
        document = orjson.loads(json.dumps(document))
    except orjson.JSONDecodeError:
        return
    assert outcome(read_link, document) == outcome(lambda it: load(Loader(LINK_IN), it), document)


def test_plain_rows_are_proved() -> None:
    row = {
        "id": "1",
        "short_url": "x",
        "has_password": False,
        "updated_at": None,
        "url": "https://example.com/ä",
        "slug": "spring",
        "domain": "go.example.com",
        "title": None,
        "tags": ["a b", "ü"],
        "starts_at": None,
        "expires_at": "2026-03-01T09:30:00Z",
        "max_clicks": None,
        "redirect_status": 308,
        "forward_query": True,
        "state": "exhausted",
        "metadata": {"a": [1, {"b": None}]},
        "created_at": "2026-01-05T11:00:00.123456+02:00",
        "clicks": 0,
        "last_clicked_at": None,
    }
    proved = rows._read_plain(row)
    assert proved == {
        **{name: it for name, it in row.items() if name not in rows.IGNORED},
        "expires_at": datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
        "created_at": datetime(2026, 1, 5, 9, 0, 0, 123456, tzinfo=UTC),
    }


@pytest.mark.parametrize("name", ["created_at", "last_clicked_at"])
def test_future_is_refused(name: str) -> None:
    row = {
        "url": "https://example.com/",
        name: (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    }
    with pytest.raises(Invalid) as raised:
        rows.read_row(row)
    assert raised.value.extra["errors"][0]["pointer"] == f"/{name}"


def test_what_a_link_has_beside_its_fields_is_ignored_and_nothing_else() -> None:
    row = {"url": "https://example.com/", "id": 1, "short_url": [], "tags": 7}
    with pytest.raises(Invalid) as raised:
        rows.read_row(row | {"shorturl": 1})
    assert {error["pointer"] for error in raised.value.extra["errors"]} == {"/tags", "/shorturl"}
