"""What the page tells of an hour that is known, in words, pictures, a table and JSON."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from api.operations.status.counters import CLICK_DELAY, REDIRECT_TIME
from api.operations.status.figures import Figures
from tests.status.hours import AS_OPERATOR, HTML, fill, make_app, quiet

_SVG = "{http://www.w3.org/2000/svg}"


def moment(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def look(home: Path, **environ: str) -> dict[str, Any]:
    answer = make_app(home, **environ).test_client().get("/status", auth=AS_OPERATOR)
    assert answer.status_code == 200
    return answer.json or {}


def page(home: Path, **environ: str) -> str:
    app = make_app(home, **environ)
    return app.test_client().get("/status", headers=HTML, auth=AS_OPERATOR).text


def texts(home: Path, database_url: str, minute: Callable[[int], Figures | None]) -> list[str]:
    """What is found of such an hour, while every dependency answers."""
    fill(home, minute)
    return [it["text"] for it in look(home, DATABASE_URL=database_url)["findings"]]


def picture(html: str, slug: str) -> ElementTree.Element:
    """One of the pictures of the page."""
    match = re.search(rf'<figure id="{slug}">.*?(<svg.*?</svg>)', html, re.DOTALL)
    assert match is not None, slug
    return ElementTree.fromstring(match[1].replace("<svg ", f'<svg xmlns="{_SVG[1:-1]}" ', 1))


def marks(svg: ElementTree.Element, look: str) -> int:
    """Of how many minutes something is drawn."""
    found = [it for it in svg.iter(f"{_SVG}path") if look in it.get("class", "").split()]
    return sum(it.get("d", "").count("M") + it.get("d", "").count("L") for it in found)


def test_when_all_is_well_it_says_so(tmp_path: Path, database_url: str) -> None:
    fill(tmp_path, lambda ago: quiet())
    told = look(tmp_path, DATABASE_URL=database_url)
    assert (told["status"], told["findings"]) == ("well", [])
    assert "<h1>All is well</h1>" in page(tmp_path, DATABASE_URL=database_url)


def test_before_the_first_sample_the_pictures_are_gaps(tmp_path: Path, database_url: str) -> None:
    html = page(tmp_path, DATABASE_URL=database_url)
    assert "The first figures come within seconds." in html
    svg = picture(html, "redirects")
    assert len([it for it in svg.iter(f"{_SVG}rect") if it.get("class") == "gap"]) == 1
    assert marks(svg, "prepared") == 0


def test_numbers_of_each_minute_are_told(tmp_path: Path) -> None:
    more = {"calls.5xx": 30.0, f"{REDIRECT_TIME.beginning}0.001": 1_200.0}
    last = fill(tmp_path, lambda ago: quiet(**more) if ago != 7 else None)
    minutes = look(tmp_path)["minutes"]
    assert len(minutes) == 60
    minute = minutes[30]
    assert minute["redirects_per_second"]["prepared"] == 20
    assert minute["redirects_per_second"]["database"] == 0
    assert minute["calls_per_second"] == {"2xx": 5, "3xx": 0, "4xx": 0, "5xx": 0.5}
    assert minute["clicks_per_second"] == {"recorded": 20, "counted": 20}
    assert minute["redirect_seconds"] == {"p50": 0.00075, "p99": 0.000995}
    assert minute["click_delay_seconds"] == {"p50": None, "p99": None}
    assert minute["busy_ratio"] == {"mean": 0.2, "max": 0.3}
    assert (minute["workers"], minute["hosts"], minute["spool_bytes"]) == (2, 1, 40_000)
    (gap,) = [it for it in minutes if it["start"] == moment(60 * (last - 7))]
    assert gap["redirects_per_second"]["prepared"] is None
    assert gap["workers"] is None


def test_hosts_add_up_to_one_rate(tmp_path: Path) -> None:
    both = {"hosts": 2.0, "seconds": 120.0, "redirects.prepared": 2_400.0}
    fill(tmp_path, lambda ago: quiet() | both)
    assert look(tmp_path)["minutes"][30]["redirects_per_second"]["prepared"] == 40


def test_pictures_show_the_numbers_and_their_gaps(tmp_path: Path) -> None:
    times = {f"{REDIRECT_TIME.beginning}0.001": 9.0, f"{CLICK_DELAY.beginning}2.5": 9.0}
    fill(tmp_path, lambda ago: None if 10 <= ago < 15 else quiet(**times))
    html = page(tmp_path)
    for slug, looks in {
        "redirects": {"prepared": 55},
        "redirect-time": {"half": 55, "slow": 55},
        "calls": {"calls-2xx": 55},
        "clicks": {"recorded": 55, "counted": 55},
        "click-delay": {"half": 55, "slow": 55},
        "spool": {"waiting": 55},
        "workers": {"half": 55, "slow": 55, "pool": 55},
        "loop": {"slow": 55},
    }.items():
        svg = picture(html, slug)
        assert {look: marks(svg, look) for look in looks} == looks, slug
        (gap,) = [it for it in svg.iter(f"{_SVG}rect") if it.get("class") == "gap"]
        assert abs(float(gap.get("width", 0)) - 310 * 5 / 60) < 0.1
    for slug in ("redirect-time", "click-delay"):
        assert marks(picture(html, slug), "limit") == 1  # what is promised
    assert html.count("<tr>") == 61
    assert "<td>20</td>" in html


def test_a_dependency_that_is_away_is_told_since_when(tmp_path: Path, database_url: str) -> None:
    away = {"down.redis": 6.0}
    last = fill(
        tmp_path,
        lambda ago: quiet(**{"up.database": 6.0}, **(away if ago < 12 else {"up.redis": 6.0})),
    )
    told = look(tmp_path, DATABASE_URL=database_url, REDIS_URL="redis://127.0.0.1:1/0")
    began = 60 * (last - 11)
    clock = moment(began)[11:16]
    assert told["status"] == "degraded"
    assert told["findings"][0]["text"].startswith(f"Redis is away since {clock}: redirects and")
    (redis,) = [it for it in told["dependencies"] if it["name"] == "redis"]
    assert redis["status"] == "down"
    assert redis["since"].endswith(f"{clock}:00Z")
    html = page(tmp_path, DATABASE_URL=database_url, REDIS_URL="redis://127.0.0.1:1/0")
    assert re.search("redis: away in 1[23] of the 60 minutes", html)


def test_without_the_database_it_is_down(tmp_path: Path) -> None:
    told = look(tmp_path)
    assert told["status"] == "down"
    assert told["findings"][0]["severity"] == "down"
    assert "PostgreSQL is away" in told["findings"][0]["text"]


def test_what_only_other_hosts_depend_on_is_told(tmp_path: Path, database_url: str) -> None:
    fill(tmp_path, lambda ago: quiet(**{"down.queue": 3.0, "up.queue": 3.0}))
    told = look(tmp_path, DATABASE_URL=database_url)
    (queue,) = [it for it in told["dependencies"] if it["name"] == "queue"]
    assert queue["status"] == "down"
    assert "RabbitMQ is away" in told["findings"][0]["text"]


@pytest.mark.parametrize(
    ("minute", "text"),
    [
        (quiet(**{"max.oldest_click_seconds": 200.0}), "Clicks wait: the oldest for 3 min."),
        (quiet(clicks_counted=0.0), "Clicks are recorded, and none was counted for 2 minutes."),
        (quiet(clicks_lost=3.0), "15 clicks were answered and not recorded"),
        (quiet(**{"calls.5xx": 33.0}), "10 % of API calls failed in the last 5 minutes."),
        (quiet(redirects_failed=12.0), "1 % of redirects failed"),
        (quiet(busy=5.4), "The web workers are 90 % busy."),
        (quiet(**{"max.loop_delay_seconds": 0.2}), "Requests wait 200 ms for their turn"),
        (quiet(**{"max.pool_waiting": 3.0}), "Requests wait for a connection to a database"),
        (
            quiet(**{f"{REDIRECT_TIME.beginning}0.1": 100.0}),
            "One redirect in a hundred takes longer than 100 ms.",
        ),
        (
            quiet(**{f"{CLICK_DELAY.beginning}60": 100.0}),
            "One click in a hundred is counted later than 60 s after it.",
        ),
    ],
)
def test_what_is_slow_or_failing_is_named(
    tmp_path: Path, database_url: str, minute: Figures, text: str
) -> None:
    (found,) = texts(tmp_path, database_url, lambda ago: minute)
    assert found.startswith(text)


def test_a_quiet_site_is_well_though_its_first_requests_took_their_time(
    tmp_path: Path, database_url: str
) -> None:
    few = {"redirects.prepared": 0.0, "redirects.database": 2.0}
    few |= {"clicks_recorded": 2.0, "clicks_counted": 2.0}
    few |= {f"{REDIRECT_TIME.beginning}0.1": 2.0, f"{CLICK_DELAY.beginning}30": 2.0}
    assert texts(tmp_path, database_url, lambda ago: quiet(**few) if ago < 4 else None) == []


def test_what_is_over_is_not_told(tmp_path: Path, database_url: str) -> None:
    bad = quiet(**{"calls.5xx": 300.0, "max.oldest_click_seconds": 300.0, "max.busy": 1.0})
    assert texts(tmp_path, database_url, lambda ago: bad if ago > 5 else quiet()) == []


def test_silence_is_told(tmp_path: Path, database_url: str) -> None:
    (found,) = texts(tmp_path, database_url, lambda ago: quiet() if ago > 10 else None)
    assert found.startswith("No process has told figures since ")


def test_the_page_runs_no_script_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    answer = make_app(tmp_path).test_client().get("/status", headers=HTML, auth=AS_OPERATOR)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    assert re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^">)]*)', answer.text) == ["/favicon.ico"]
    assert '<meta http-equiv="refresh" content="30">' in answer.text


def test_however_many_look_the_dependencies_are_asked_once(tmp_path: Path) -> None:
    client = make_app(tmp_path).test_client()
    asked = {client.get("/status", auth=AS_OPERATOR).json["at"] for _ in range(3)}  # type: ignore[index]
    assert len(asked) == 1
