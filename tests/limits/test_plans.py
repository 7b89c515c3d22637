"""Plans as operators write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.limits.counts import Asked, Counted, seconds_to_room
from config.plans import Plan
from config.settings import Settings, SettingsError

FREE = {"reads_per_minute": 60, "links_per_month": 100}


def test_plans_are_json_or_a_file_of_it(tmp_path: Path) -> None:
    text = json.dumps({"free": FREE, "standard": {"reads_per_minute": 1}})
    file = tmp_path / "plans.json"
    file.write_text(text)
    for value in (text, str(file)):
        plans = Settings.load({"PLANS": value, "DEFAULT_PLAN": "free"}).plans_by_name
        assert plans["free"] == Plan("free", reads_per_minute=60, links_per_month=100)
        assert plans["standard"] == Plan("standard", reads_per_minute=1)
        assert plans["unlimited"] == Plan("unlimited")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PLANS", "{", "Not JSON"),
        ("PLANS", "/nowhere/plans.json", "Neither JSON nor a file"),
        ("PLANS", '{"Free": {}}', "'Free'"),
        ("PLANS", '{"unlimited": {}}', "without limits"),
        ("PLANS", '{"free": 3}', "must be an object"),
        ("PLANS", '{"free": {"reads": 1}}', "no such limit: 'reads' (reads_per_minute, "),
        ("PLANS", '{"free": {"reads_per_minute": -1}}', "reads_per_minute must be a whole"),
        ("PLANS", '{"free": {"reads_per_minute": true}}', "reads_per_minute must be a whole"),
        ("DEFAULT_PLAN", "gone", "No such plan; there are: standard, unlimited."),
    ],
)
def test_a_wrong_plan_stops_the_start_with_one_line(name: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load({name: value})
    assert str(refused.value).startswith(f"{name}: ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("rate", [1, 2, 5, 100])
@pytest.mark.parametrize("passed", [0.0, 0.5, 30.0, 59.9])
@pytest.mark.parametrize("shares", [(0.0, 1.0), (1.0, 0.0), (0.5, 0.9), (1.0, 1.0)])
def test_who_waits_as_told_is_let_through_and_not_much_later(
    rate: int, passed: float, shares: tuple[float, float]
) -> None:
    before, this = round(shares[0] * rate), round(shares[1] * rate)
    counted = Counted(6_000 + passed, this, before, 0, "reads")
    asked = Asked(1, "somebody", "reads", rate, 0)
    if asked.rate_left(counted) > 0:
        return
    wait = seconds_to_room(counted, rate)
    assert asked.rate_left(_later(counted, wait)) >= 1
    assert wait == 1 or asked.rate_left(_later(counted, wait - 1.001)) < 1


def _later(counted: Counted, seconds: float) -> Counted:
    now = counted.now + seconds
    minutes = int(now // 60) - int(counted.now // 60)
    if minutes == 0:
        return counted._replace(now=now)
    before = counted.this_minute if minutes == 1 else 0
    return Counted(now, 0, before, 0, None)
