"""What is drawn: each number has its height, and what is not known is a gap."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

from api.operations.status import words
from api.operations.status.hour import Values
from api.operations.status.pictures import Limit, Picture, Series

_SVG = "{http://www.w3.org/2000/svg}"
LABELS = ("10:00", "10:30", "now")
TOP, BOTTOM = 10.0, 130.0


def draw(picture: Picture) -> ElementTree.Element:
    """The picture, as a browser reads it within a page."""
    text = str(picture.draw(LABELS))
    return ElementTree.fromstring(text.replace("<svg ", f'<svg xmlns="{_SVG[1:-1]}" ', 1))


def make_picture(*series: Values, **options: object) -> Picture:
    return Picture(
        **{
            "slug": "redirects",
            "title": "Redirects <a second>",
            "text": "now 1 & more",
            "series": [
                Series(name=f"series {place}", look=f"look-{place}", values=values)
                for place, values in enumerate(series)
            ],
            "tell": words.count,
            "least": 1.0,
        }
        | options  # type: ignore[arg-type]
    )


def paths(svg: ElementTree.Element, look: str) -> list[str]:
    found = svg.iter(f"{_SVG}path")
    return [path.get("d", "") for path in found if look in path.get("class", "").split()]


def bars(svg: ElementTree.Element, look: str) -> list[tuple[float, float, float]]:
    """Where each begins, its foot and its top."""
    (path,) = paths(svg, look)
    found = re.findall(r"M([\d.]+) ([\d.]+)h[\d.]+V([\d.]+)h-[\d.]+z", path)
    return [(float(x), float(foot), float(top)) for x, foot, top in found]


def test_bars_stand_on_one_another_and_are_as_high_as_their_values() -> None:
    svg = draw(make_picture([10.0, 5.0, None, 0.0], [10.0, None, None, 20.0], stacked=True))
    first, second = bars(svg, "look-0"), bars(svg, "look-1")
    # The scale goes to 20, which is 120 high.
    assert [(foot, top) for _, foot, top in first] == [(130, 70), (130, 100)]
    assert [(foot, top) for _, foot, top in second] == [(70, 10), (130, 10)]
    assert second[0][0] == first[0][0]
    assert second[1][0] > first[1][0]


def test_minutes_of_which_nothing_is_known_are_gaps_and_nought_is_none() -> None:
    svg = draw(make_picture([1.0, None, None, 0.0, 1.0], stacked=True))
    (gap,) = [rect for rect in svg.iter(f"{_SVG}rect") if rect.get("class") == "gap"]
    width = 310 / 5
    assert abs(float(gap.get("x", 0)) - (48 + width)) < 0.1
    assert abs(float(gap.get("width", 0)) - 2 * width) < 0.1
    (ground,) = paths(svg, "ground")
    assert ground.count("M") == 3  # there is ground under what is known, nought included


def test_a_line_breaks_at_a_gap_and_a_lonely_minute_is_a_point() -> None:
    svg = draw(make_picture([1.0, 2.0, None, 3.0, None, 4.0, 5.0]))
    (line,) = paths(svg, "line")
    assert line.count("M") == 3
    assert line.count("L") == 2
    assert re.findall(r"M[\d.]+ ([\d.]+)h-2h2", line)[1] == "58.0"  # 3 of 5, of 120 from 130


def test_times_are_drawn_by_their_order_of_magnitude() -> None:
    svg = draw(
        make_picture(
            [0.001, 0.01, 0.1, 7.0],
            logarithmic=True,
            least=0.001,
            tell=words.seconds,
            limit=Limit(value=0.01, name="99 % within 10 ms"),
        )
    )
    (line,) = paths(svg, "line")
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", line)]
    steps = [before - after for before, after in pairwise(heights)]
    assert heights[0] == BOTTOM
    assert abs(steps[0] - steps[1]) < 0.2
    assert abs(steps[0] - (BOTTOM - TOP) / 4) < 0.2
    assert paths(svg, "limit") == [f"M48 {heights[1]:.1f}H358"]
    told = [text.text for text in svg.iter(f"{_SVG}text")]
    assert {"1 ms", "99 % within 10 ms", *LABELS} <= set(told)


def test_a_picture_tells_what_it_shows_to_who_cannot_see_it() -> None:
    svg = draw(make_picture([1.0]))
    title, text = svg.find(f"{_SVG}title"), svg.find(f"{_SVG}desc")
    assert title is not None and text is not None
    assert (title.text, text.text) == ("Redirects <a second>", "now 1 & more")
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == f"{title.get('id')} {text.get('id')}"


def test_an_hour_of_which_nothing_is_known_can_be_drawn() -> None:
    nothing: Values = [None] * 60
    for options in ({"stacked": True}, {"logarithmic": True, "least": 0.0001}, {}):
        svg = draw(make_picture(nothing, **options))
        assert len([it for it in svg.iter(f"{_SVG}rect") if it.get("class") == "gap"]) == 1


def test_numbers_are_told_as_people_read_them() -> None:
    assert [words.count(it) for it in (0, 0.25, 7, 99.6, 1240, 12_400, 3e6)] == [
        "0", "0.25", "7", "100", "1,240", "12k", "3M",
    ]  # fmt: skip
    assert [words.seconds(it) for it in (0, 0.00012, 0.02, 0.415, 2.5, 200, 9_000)] == [
        "0 s", "0.12 ms", "20 ms", "415 ms", "2.5 s", "3 min", "2 h",
    ]  # fmt: skip
    assert [words.size(it) for it in (0, 999, 1_480_000)] == ["0 B", "999 B", "1.5 MB"]
    assert [words.share(it) for it in (0, 0.0012, 0.5)] == ["0 %", "0.12 %", "50 %"]
