"""How spans leave the process, and what is not waited for."""

from __future__ import annotations

import gzip
import logging
import time

import pytest

from api.core.tracing.export import Exporter
from api.core.tracing.sampling import Sampler
from api.core.tracing.spans import SERVER, Span
from api.core.tracing.tracer import Tracer
from config.settings import Settings
from tests.services.network import free_ports
from tests.tracing.receiver import receiving


def a_span() -> Span:
    tracer = Tracer()
    tracer.sampler = Sampler(1.0, follows_parent=True)
    with tracer.trace("request", SERVER, {"http.route": "/x", "signpost.clicks": 3}) as span:
        pass
    return span


def exporter(port: int) -> Exporter:
    return Exporter(
        Settings.load({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}/"}), "x"
    )


def test_end_waits_for_a_receiver_that_answers() -> None:
    with receiving() as receiver:
        made = exporter(receiver.port)
        made.put([a_span() for _ in range(300)])
        made.stop(5.0)
        spans = receiver.spans()
    assert len(spans) == 300
    assert spans[0].attributes == {"http.route": "/x", "signpost.clicks": 3}
    assert receiver.paths[0] == "/v1/traces"


def test_what_opentelemetry_reads_itself_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=shed")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with receiving() as receiver:
        made = exporter(receiver.port)
        made.put([a_span()])
        made.stop(5.0)
    (body,) = map(gzip.decompress, receiver.bodies)
    assert receiver.headers[0]["content-encoding"] == "gzip"
    for told in (b"deployment.environment.name", b"shed", b"service.version"):
        assert told in body


def test_end_waits_for_nobody_who_is_away(caplog: pytest.LogCaptureFixture) -> None:
    made = exporter(free_ports(1)[0])
    made.put([a_span()])
    started = time.monotonic()
    made.stop(5.0)
    assert time.monotonic() - started < 2


def test_more_than_the_queue_holds_is_dropped_at_once(caplog: pytest.LogCaptureFixture) -> None:
    made = exporter(free_ports(1)[0])
    span = a_span()
    with caplog.at_level(logging.INFO):
        started = time.monotonic()
        made.put([span] * 30_000)
        assert time.monotonic() - started < 2
    made.stop(1.0)
    assert len(caplog.records) <= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://127.0.0.1:4317"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:port"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_TRACES_SAMPLER_ARG", "nan"),
        ("OTEL_TRACES_SAMPLER_ARG", "a tenth"),
    ],
)
def test_setting_that_means_nothing_stops_the_start(name: str, value: str) -> None:
    from config.settings import SettingsError

    with pytest.raises(SettingsError, match=f"^{name}: "):
        Settings.load({name: value})
