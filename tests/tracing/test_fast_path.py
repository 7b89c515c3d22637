"""Which requests the fast path leaves to the application, so that they are traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from api.clicks.spool import Spool
from api.core.tracing.context import read_traceparent
from api.core.tracing.sampling import Sampler
from api.core.tracing.spans import running
from api.core.tracing.tracer import MOST_ASKED, TRACER
from api.core.tracing.wsgi import TracedApplication, chosen
from api.core.transport import Transport
from api.redirects.prepared import PreparedAnswers
from api.redirects.traced import TracedFastPath
from config.settings import Settings
from tests.redirects.test_fast_path import REQUEST, answers, cache, know, renewals
from tests.tracing.conftest import traceparent

__all__ = ["answers", "cache", "know", "renewals"]

PEER = "192.0.2.7"


@pytest.fixture
def fast(
    answers: PreparedAnswers, know: Callable[..., None], tmp_path: Path
) -> Iterator[Callable[[float], TracedFastPath]]:
    """Makes a fast path that takes a share of what it could answer for traces."""
    before = TRACER.sampler
    know()

    def make(ratio: float, *, follows: bool = True) -> TracedFastPath:
        TRACER.sampler = Sampler(ratio, follows)
        spool = Spool(tmp_path, 1_000_000, 1.0, 1_000_000)
        return TracedFastPath(answers, spool, Transport(Settings.load({})))

    yield make
    TRACER.sampler = before
    chosen.set(None)


def with_header(value: str) -> bytes:
    return REQUEST.replace(b"Accept: */*", f"TraceParent: {value}".encode())


def is_sampled(environ: dict[str, str]) -> bool:
    """Whether the application's trace of a request is sampled."""
    seen: list[Any] = []

    def application(*_: Any) -> list[bytes]:
        seen.append(running())
        return []

    made = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http", **environ}
    body: Any = TracedApplication(application, TRACER)(made, lambda *_: None)
    body.close()
    (span,) = seen
    return bool(span.trace.sampled)


def test_what_a_caller_samples_is_left_to_the_application(
    fast: Callable[[float], TracedFastPath],
) -> None:
    path = fast(0.0)
    assert path.answer(with_header(traceparent()[0]), PEER) is None
    assert path.answer(with_header(traceparent(sampled=False)[0]), PEER) is not None
    assert path.answer(with_header("of another kind"), PEER) is not None
    assert path.answer(REQUEST, PEER) is not None
    assert not chosen.get()


def test_strangers_who_ask_for_traces_do_not_lead_everybody_around_the_fast_path(
    fast: Callable[[float], TracedFastPath], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 7.0)
    monkeypatch.setattr("api.core.tracing.bounds.time", clock)
    path, taken = fast(0.0), 0
    same, _, _ = traceparent()
    for number in range(4 * MOST_ASKED):
        header = same if number % 2 else traceparent()[0]
        if path.answer(with_header(header), PEER) is None:
            taken += is_sampled({"HTTP_TRACEPARENT": header})
    assert taken == MOST_ASKED
    # Nor where the application is asked at once.
    assert not is_sampled({"HTTP_TRACEPARENT": same})
    clock.monotonic = lambda: 8.0
    assert path.answer(with_header(same), PEER) is None
    assert is_sampled({"HTTP_TRACEPARENT": same})


def test_share_of_the_others_is_traced_and_no_more(
    fast: Callable[[float], TracedFastPath],
) -> None:
    path, taken = fast(0.25), 0
    for _ in range(4_000):
        if path.answer(REQUEST, PEER) is None:
            assert chosen.get()
            assert is_sampled({})
            assert chosen.get() is None
            taken += 1
    assert 850 < taken < 1_150


def test_what_the_fast_path_cannot_answer_is_not_asked_about_twice(
    fast: Callable[[float], TracedFastPath],
) -> None:
    path, taken = fast(0.25), 0
    for _ in range(4_000):
        assert path.answer(REQUEST.replace(b"/abc", b"/other"), PEER) is None
        taken += is_sampled({})
    assert 850 < taken < 1_150


def test_caller_that_does_not_sample_is_heard(fast: Callable[[float], TracedFastPath]) -> None:
    path = fast(1.0)
    header, _, _ = traceparent(sampled=False)
    assert path.answer(with_header(header), PEER) is None
    assert not is_sampled({"HTTP_TRACEPARENT": header})
    assert chosen.get() is None


@pytest.mark.parametrize(
    ("name", "argument", "ratio", "follows"),
    [
        ("always_on", "0.5", 1.0, False),
        ("always_off", "0.5", 0.0, False),
        ("traceidratio", "0.5", 0.5, False),
        ("parentbased_always_on", "", 1.0, True),
        ("parentbased_always_off", "", 0.0, True),
        ("parentbased_traceidratio", "", 0.01, True),
        ("", "", 0.01, True),
    ],
)
def test_samplers_have_the_names_of_opentelemetry(
    name: str, argument: str, ratio: float, follows: bool
) -> None:
    environ = {"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert Sampler.of(Settings.load(environ)) == Sampler(ratio, follows)


def test_sampler_without_parents_goes_by_the_id_alone() -> None:
    low, high = "0" * 15 + "1" * 17, "f" * 32
    by_id, by_parent = Sampler(0.5, follows_parent=False), Sampler(0.5, follows_parent=True)
    for trace, flag, expected in ((low, "00", True), (high, "01", False)):
        context = read_traceparent(f"00-{trace}-{'1' * 16}-{flag}")
        assert context is not None
        assert by_id.takes(context, context.trace_id) is expected
        assert by_parent.takes(context, context.trace_id) is not expected


@pytest.mark.parametrize("ratio", [1e-12, 0.01, 0.5, 1.0])
def test_what_was_chosen_before_is_told_by_the_id(ratio: float) -> None:
    sampler = Sampler(ratio, follows_parent=False)
    assert all(sampler.takes(None, sampler.new_id(True)) for _ in range(1_000))
    if ratio < 1:
        assert not any(sampler.takes(None, sampler.new_id(False)) for _ in range(1_000))


def test_choice_is_of_one_greenlet() -> None:
    copy_context().run(chosen.set, True)
    assert chosen.get() is None
