"""Traces: what a request does and waits for, as spans that are exported over OTLP.

Nothing here is loaded, and nothing is wrapped, unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set
(docs/tracing.md). `export` alone knows OpenTelemetry's packages.
"""
