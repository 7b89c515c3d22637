from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.clicks.records import (
    MAX_QUERY,
    MAX_TEXT,
    ClickRecord,
    SegmentError,
    count_clicks,
    header_line,
    read_segment,
)
from tests.factories.clicks import a_click, a_segment

any_text = st.text(st.characters(codec=None), max_size=60)


def test_a_segment_gives_back_what_was_written() -> None:
    clicks = [a_click(1), a_click(2, query="a=\n\t\0&b=ü", flags=3)]
    raw = a_segment(clicks)

    segment = read_segment(raw.body)

    assert (segment.id, segment.records, segment.torn) == (raw.name, clicks, False)
    assert count_clicks(raw.body) == 2


@given(any_text, any_text, any_text)
def test_any_text_makes_one_line(user_agent: str, referrer: str, query: str) -> None:
    click = a_click(1, user_agent=user_agent, referrer=referrer, query=query)

    assert click.to_line().count(b"\n") == 1
    (read,) = read_segment(a_segment([click]).body).records
    assert len(read.user_agent) == len(user_agent)


def test_texts_are_bounded() -> None:
    click = a_click(1, user_agent="x" * 9999, query="q" * 9999)

    (read,) = read_segment(a_segment([click]).body).records

    assert (len(read.user_agent), len(read.query)) == (MAX_TEXT, MAX_QUERY)


def test_a_torn_last_line_is_left_out() -> None:
    segment = read_segment(a_segment([a_click(1)], tail=a_click(2).to_line()[:-9]).body)

    assert [record.link_id for record in segment.records] == [1]
    assert segment.torn


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no newline",
        b"not json\n",
        b"[]\n",
        b'{"v":1}\n',
        b'{"v":3,"segment":"a","created_ms":1}\n',
        b'{"v":true,"segment":"a","created_ms":1}\n',
        b'{"v":1,"segment":"","created_ms":1}\n',
        b'{"v":1,"segment":"a","created_ms":"1"}\n',
        header_line("a", 1) + b"garbage\n",
        header_line("a", 1) + b"\n",
        header_line("a", 1) + b"[1,2],[3,4]\n",
        header_line("a", 1) + b'[1,2,3,"","","","","",true]\n',
        header_line("a", 1) + b'[1,-2,3,"","","","","",0]\n',
        header_line("a", 1) + b'[1,9223372036854775808,3,"","","","","",0]\n',
        header_line("a", 1) + b'[1,2,3,"",null,"","","",0]\n',
    ],
)
def test_what_is_no_segment_is_refused(body: bytes) -> None:
    with pytest.raises(SegmentError):
        read_segment(body)


def test_a_record_is_small() -> None:
    assert len(a_click(1).to_line()) < 400
    assert ClickRecord._fields[0] == "at_ms"
