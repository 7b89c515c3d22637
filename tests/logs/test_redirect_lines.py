"""Lines for a share of the redirects, and none for the others."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.clicks.spool import Spool
from api.core.sampling import RedirectSample
from api.core.transport import Transport
from api.redirects.fast import FastPath
from api.redirects.lines import RedirectLines
from api.redirects.prepared import PreparedAnswers
from config import logging as our_logging
from config.settings import Settings
from tests.redirects.test_fast_path import PLAIN, REQUEST, answers, cache, know, renewals

__all__ = ["answers", "cache", "know", "renewals"]
_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"  # pragma: allowlist secret


@pytest.fixture
def lines(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> Callable[[], list[dict[str, Any]]]:
    """What was written since the last look, as by a process that logs JSON."""
    monkeypatch.setattr(our_logging._output, "as_json", True)
    caplog.set_level(logging.INFO, our_logging.REQUEST_LOGGER)
    return lambda: [json.loads(line) for line in capsysbinary.readouterr().err.splitlines()]


@pytest.fixture
def make_fast(answers: PreparedAnswers, tmp_path: Path) -> Callable[[float], FastPath]:
    spool = Spool(tmp_path, 1_000_000, 1.0, 1_000_000)
    transport = Transport(Settings.load({}))
    return lambda share: FastPath(answers, spool, transport, RedirectLines(share))


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 1.0])
def test_the_share_that_is_taken_is_the_one_that_was_asked_for(share: float) -> None:
    sample, asked = RedirectSample(share), 40_000
    taken = sum(sample.takes() for _ in range(asked))
    # Six standard deviations of a binomial distribution.
    assert abs(taken - asked * share) <= 6 * math.sqrt(asked * share * (1 - share))


def test_of_all_redirects_each_has_a_line(
    make_fast: Callable[[float], FastPath],
    know: Callable[..., None],
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    know()
    fast = make_fast(1.0)
    assert fast.answer(REQUEST, "192.0.2.7") is not None
    asked = REQUEST.replace(b"GET", b"HEAD").replace(
        b"\r\n\r\n",
        b"\r\nX-Request-ID: mine-mine\r\nTraceparent: 00-%b-00f067aa0ba902b7-00\r\n\r\n"
        % _TRACE.encode(),
    )
    assert fast.answer(asked, "192.0.2.7") is not None
    assert fast.answer(REQUEST.replace(b"/abc", b"/abd"), "192.0.2.7") is None

    first, second = lines()
    assert 0 < first.pop("duration_ms") < 50
    assert len(first.pop("request_id")) == 32
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "request",
        "logger": "signpost.request",
        "level": "info",
        "method": "GET",
        "route": "/<slug:slug>",
        "status": PLAIN.redirect_status,
        "bytes": 0,
        "cache_level": "prepared",
        "workspace": PLAIN.workspace_id,
        "sample": 1.0,
    }
    assert (second["method"], second["request_id"]) == ("HEAD", "mine-mine")
    assert second["trace_id"] == _TRACE


def test_of_a_share_some_have_one_and_it_says_how_many_it_stands_for(
    make_fast: Callable[[float], FastPath],
    know: Callable[..., None],
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    know()
    fast = make_fast(0.25)
    for _ in range(2_000):
        assert fast.answer(REQUEST, "192.0.2.7") is not None
    told = lines()
    assert 350 < len(told) < 650
    assert {line["sample"] for line in told} == {0.25}


def test_where_nothing_is_told_nothing_is_asked(
    make_fast: Callable[[float], FastPath],
    lines: Callable[[], list[dict[str, Any]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    quiet: Any = make_fast(0.0).answer
    assert quiet.__func__ is FastPath.answer
    caplog.set_level(logging.WARNING, our_logging.REQUEST_LOGGER)
    quiet = make_fast(1.0).answer
    assert quiet.__func__ is FastPath.answer
    assert lines() == []
