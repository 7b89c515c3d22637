"""Traces: where they go, and which."""

from __future__ import annotations

from dataclasses import dataclass

from config import kinds
from config.declaring import setting


@dataclass(frozen=True, kw_only=True)
class TelemetrySettings:
    """Traces: where they go, and which."""

    otel_exporter_otlp_endpoint: str | None = setting(
        None,
        kinds.collector,
        "Where traces are sent, by OTLP over HTTP: `http://host:4318`, to which `/v1/traces` is "
        "added; default: nothing is traced. See docs/tracing.md.",
    )
    otel_exporter_otlp_headers: str | None = setting(
        None,
        kinds.text(),
        "Headers that go with them, `name=value,name=value`, such as the credential of a service.",
    )
    otel_traces_sampler: str = setting(
        "parentbased_traceidratio",
        kinds.one_of(
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ),
        "Which traces are exported; `parentbased_`: those that a caller samples, and by this rule "
        "those that begin here. Requests that fail always are.",
    )
    otel_traces_sampler_arg: float = setting(
        0.01, kinds.ratio, "The share of `traceidratio`, from 0 to 1."
    )
    otel_service_name: str | None = setting(
        None,
        kinds.text(1),
        "What the process is called in traces; default: `signpost-web`, `-redirect`, `-api`, "
        "`-clicks` or `-worker`.",
    )
