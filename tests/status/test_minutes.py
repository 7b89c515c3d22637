"""Where minutes are kept: what hosts tell adds up, and nothing stays for long."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import pytest
import redis

from api.operations.status.figures import fullest
from api.operations.status.local import MinuteFiles
from api.operations.status.sampler import Sampler
from api.operations.status.shared import SharedMinutes
from tests.running import wait_until

REDIS_URL = os.environ["TEST_REDIS_URL"]


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> SharedMinutes:
    """Minutes that no other test writes into."""
    name = uuid.uuid4().hex
    monkeypatch.setattr("api.operations.status.shared._PREFIX", f"signpost:status:{{{name}}}:")
    return SharedMinutes(REDIS_URL, 1)


def make_sampler(
    folder: Path,
    counts: dict[str, float],
    shared: SharedMinutes | None = None,
    *,
    stands_in: bool = False,
) -> Sampler:
    return Sampler(
        folder,
        MinuteFiles(folder),
        shared,
        count=lambda: {"generation": 1.0} | counts,
        look=lambda: {"max.busy": 0.5, "busy": 0.25, "busy_samples": 1},
        look_once=lambda: {"hosts": 1},
        seconds=0.1,
        stands_in=stands_in,
    )


def this_minute(folder: Path) -> dict[str, float]:
    """All that was sampled in this test: it may begin in one minute and end in the next."""
    now = int(time.time() // 60)
    both = [held for held in MinuteFiles(folder).read([now - 1, now]) if held]
    return {name: sum(held.get(name, 0) for held in both) for held in both for name in held}


def test_what_is_told_adds_up_and_of_gauges_the_largest_stays(shared: SharedMinutes) -> None:
    shared.add(7, {"redirects.process": 2, "max.busy": 0.5})
    shared.add(7, {"redirects.process": 3.5, "max.busy": 0.25, "calls.2xx": 1})
    assert shared.read([6, 7]) == [
        None,
        {"redirects.process": 5.5, "max.busy": 0.5, "calls.2xx": 1},
    ]


def test_a_minute_has_a_life_and_a_bounded_size(shared: SharedMinutes) -> None:
    for start in range(0, 1_000, 250):
        shared.add(7, {f"up.{number}": 1 for number in range(start, start + 250)})
    (held,) = shared.read([7])
    assert held is not None and len(held) == 400
    with redis.Redis.from_url(REDIS_URL) as client:
        (key,) = client.scan_iter(f"{_prefix()}7", count=10_000)
        assert 7_000 < client.ttl(key) <= 7_200


def test_what_others_wrote_into_redis_is_not_believed(shared: SharedMinutes) -> None:
    shared.add(7, {"calls.2xx": 1})
    written = {"a": "nan", "b": "-inf", "c": "<svg>", "d": "-1", "e": "1e999", b"\xff": "1"}
    shared._client.hset(f"{_prefix()}7", mapping=written)
    assert shared.read([7]) == [{"calls.2xx": 1}]


def _prefix() -> str:
    from api.operations.status import shared

    return shared._PREFIX


def test_files_of_long_ago_go(tmp_path: Path) -> None:
    files = MinuteFiles(tmp_path)
    files.add(1_000, {"samples": 1})
    files.add(1_001, {"samples": 1})
    files.add(1_001, {"samples": 1})
    files.add(1_120, {"samples": 1})
    assert files.read([1_000, 1_001, 1_120]) == [None, {"samples": 2}, {"samples": 1}]


def test_of_two_places_the_one_that_missed_less_is_believed() -> None:
    assert fullest(None, None) is None
    assert fullest({"a": 1}, None) == {"a": 1}
    assert fullest({"a": 5, "b": 1}, {"a": 3, "c": 2}) == {"a": 5, "b": 1, "c": 2}


def test_only_what_grew_between_two_samples_is_told(tmp_path: Path) -> None:
    counted = {"redirects.process": 1_000.0}
    sampler = make_sampler(tmp_path, counted)
    sampler.sample()  # whatever was counted before, nobody knows when
    assert "redirects.process" not in this_minute(tmp_path)
    counted["redirects.process"] += 40
    sampler.sample()
    counted["redirects.process"] = 900  # a file could not be read this time
    sampler.sample()
    counted |= {"redirects.process": 2, "generation": 2}  # the files were made anew
    sampler.sample()
    held = this_minute(tmp_path)
    assert held["redirects.process"] == 42
    assert held["samples"] == 4
    assert held["hosts"] >= 1


def test_where_nothing_is_counted_nought_is_not_told(tmp_path: Path) -> None:
    lost: dict[str, float] = {"clicks_lost": 4}
    sampler = Sampler(
        tmp_path,
        MinuteFiles(tmp_path),
        None,
        count=lambda: dict(lost),
        look=dict,
        look_once=dict,
        seconds=0.1,
    )
    sampler.sample()
    lost["clicks_lost"] += 3
    sampler.sample()
    assert this_minute(tmp_path) == {"samples": 2, "clicks_lost": 3}


def test_one_process_of_a_host_samples_and_another_goes_on_after_it(tmp_path: Path) -> None:
    counted = {"calls.2xx": 10.0}
    first, second = (make_sampler(tmp_path, counted) for _ in range(2))
    assert first.sample()
    assert not second.sample()
    counted["calls.2xx"] += 5
    first.stop()
    assert second.sample()  # and loses nothing of what was counted between
    second.stop()
    assert this_minute(tmp_path)["calls.2xx"] == 5


def test_who_stands_in_samples_only_while_nobody_else_does(tmp_path: Path) -> None:
    counted: dict[str, float] = {}
    stand_in = make_sampler(tmp_path, counted, stands_in=True)
    web = make_sampler(tmp_path, counted)
    assert stand_in.sample()
    assert web.sample()  # it holds nothing between its samples
    assert not stand_in.sample()
    web.stop()
    wait_until(stand_in.sample, 5)


def test_two_hosts_add_up(tmp_path: Path, shared: SharedMinutes) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    counts: list[dict[str, float]] = [{"redirects.redis": 0}, {"redirects.redis": 100}]
    samplers = [
        make_sampler(home, counted, shared) for home, counted in zip(homes, counts, strict=True)
    ]
    for _ in range(2):
        for sampler in samplers:
            sampler.sample()
        for counted in counts:
            counted["redirects.redis"] += 30
    now = int(time.time() // 60)
    both = [held for held in shared.read([now - 1, now]) if held]
    assert sum(held.get("redirects.redis", 0) for held in both) == 60
    assert [this_minute(home)["redirects.redis"] for home in homes] == [30, 30]


def test_what_could_not_be_sent_is_sent_when_redis_is_back(
    tmp_path: Path, shared: SharedMinutes
) -> None:
    counted = {"calls.2xx": 0.0}
    sampler = make_sampler(tmp_path, counted, shared)
    there = shared._client
    shared._client = SharedMinutes("redis://127.0.0.1:1/0", 1)._client
    for _ in range(2):
        assert sampler.sample()  # requests, and the host's own file, are none the worse
        counted["calls.2xx"] += 8
    assert this_minute(tmp_path)["calls.2xx"] == 8
    shared._client = there
    sampler.sample()
    now = int(time.time() // 60)
    assert sum((held or {}).get("calls.2xx", 0) for held in shared.read([now - 1, now])) == 16


def test_a_disk_that_refuses_ends_no_sampling_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    nowhere = make_sampler(tmp_path / "file" / "here", {})
    for _ in range(3):
        nowhere.sample()
    assert caplog.text.count("the status page gets no figures of this host") == 1
    sampler = make_sampler(tmp_path / "here", {"calls.2xx": 1})
    sampler.sample()
    (tmp_path / "here" / "counted.json").unlink()
    (tmp_path / "here" / "counted.json").mkdir()
    assert sampler.sample()
    (tmp_path / "here" / "counted.json").rmdir()
    assert sampler.sample()
