"""Cursors are opaque, signed, and belong to one question."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from api.core.pagination import Cursors, InvalidCursor

CURSORS = Cursors(b"a secret of the tests only", "things")
POSITIONS = st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=3)
QUESTIONS = st.lists(st.none() | st.text() | st.integers(0, 2**53), max_size=5)


@given(QUESTIONS, POSITIONS)
def test_cursor_reads_what_was_written(question: list[object], position: list[int]) -> None:
    cursor = CURSORS.write(question, position)
    assert CURSORS.read(cursor, question) == position
    assert len(cursor) < 200
    assert cursor.isascii()


@given(QUESTIONS, QUESTIONS, POSITIONS)
def test_cursor_is_refused_for_another_question(
    asked: list[object], other: list[object], position: list[int]
) -> None:
    assume(asked != other)
    with pytest.raises(InvalidCursor):
        CURSORS.read(CURSORS.write(asked, position), other)


@given(POSITIONS, st.data())
def test_altered_cursor_is_refused(position: list[int], data: st.DataObject) -> None:
    cursor = CURSORS.write(["q"], position)
    place = data.draw(st.integers(0, len(cursor) - 1))
    altered = cursor[:place] + data.draw(st.characters()) + cursor[place + 1 :]
    assume(altered != cursor)
    # The last characters of base64 hold bits that stand for nothing.
    assume(place not in (len(cursor) - 1, cursor.index(".") - 1))
    with pytest.raises(InvalidCursor):
        CURSORS.read(altered, ["q"])


@given(st.text())
@example("\ud800")
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.read(text, ["q"])


@pytest.mark.parametrize(
    "other",
    [
        Cursors(b"another secret of the tests", "things"),
        Cursors(b"a secret of the tests only", "others"),
    ],
)
def test_cursor_of_another_secret_or_list_is_refused(other: Cursors) -> None:
    with pytest.raises(InvalidCursor):
        CURSORS.read(other.write(["q"], [1]), ["q"])
