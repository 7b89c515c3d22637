"""Processes: how busy and how large they are, how they end, and what jobs they do."""

from __future__ import annotations

from typing import Any

from boards.drawing import board, graph

_HERE = 'instance=~"$instance"'


def make() -> Any:
    """Web workers, consumers and job workers."""
    return board(
        "workers",
        "workers",
        "How busy and how large processes are, how they end, and the jobs beside requests.",
        {
            "Load of web workers": [
                graph(
                    "Load",
                    "1 is as it should be, 2 wants twice the workers; docs/autoscaling.md.",
                    {"{{instance}}": f"signpost_load{{{_HERE}}}"},
                    limit=1.5,
                    width=8,
                ),
                graph(
                    "Workers",
                    "Of each host.",
                    {"{{instance}}": f"signpost_workers{{{_HERE}}}"},
                    width=8,
                ),
                graph(
                    "In flight",
                    "Requests that are being answered.",
                    {"{{instance}}": f"signpost_requests_in_flight{{{_HERE}}}"},
                    width=8,
                ),
                graph(
                    "Busy and starved",
                    "Share of the time in which workers are not idle, and lack a core.",
                    {
                        "{{instance}} busy": f"signpost_busy_ratio{{{_HERE}}}",
                        "{{instance}} starved": f"signpost_starved_ratio{{{_HERE}}}",
                    },
                    unit="percentunit",
                    most=1,
                    width=8,
                ),
                graph(
                    "Wait for a turn",
                    "How late the event loops of a host are now.",
                    {"{{instance}}": f"signpost_queue_delay_seconds{{{_HERE}}}"},
                    unit="s",
                    limit=0.25,
                    width=8,
                ),
                graph(
                    "Calls in one second or more",
                    "Share of the API's calls that took longer than a second, by route.",
                    {
                        "{{route}}": "1 - sum by (route) (rate("
                        'signpost_request_duration_seconds_bucket{le="1.0"}[$__rate_interval])) '
                        "/ sum by (route) (rate("
                        "signpost_request_duration_seconds_count[$__rate_interval])) > 0.001"
                    },
                    unit="percentunit",
                    width=8,
                ),
            ],
            "Each worker": [
                graph(
                    "CPU",
                    "Cores that each web worker uses.",
                    {
                        "{{instance}} {{pid}}": "rate("
                        f"signpost_worker_cpu_seconds_total{{{_HERE}}}[$__rate_interval])"
                    },
                    width=6,
                ),
                graph(
                    "Lacks a core",
                    "Share of the time in which it is ready to run and does not.",
                    {
                        "{{instance}} {{pid}}": "rate("
                        f"signpost_worker_starved_seconds_total{{{_HERE}}}[$__rate_interval])"
                    },
                    unit="percentunit",
                    width=6,
                ),
                graph(
                    "Event loop",
                    "How late its timers are: one that blocks it holds up everybody there.",
                    {
                        "{{instance}} {{pid}}": "rate("
                        f"signpost_worker_loop_delay_seconds_sum{{{_HERE}}}[$__rate_interval]) "
                        "/ rate("
                        f"signpost_worker_loop_delay_seconds_count{{{_HERE}}}[$__rate_interval])"
                    },
                    unit="s",
                    limit=0.25,
                    width=6,
                ),
                graph(
                    "Connections",
                    "Of clients, to each worker.",
                    {"{{instance}} {{pid}}": f"signpost_worker_connections{{{_HERE}}}"},
                    width=6,
                ),
            ],
            "Life and death": [
                graph(
                    "Memory",
                    "Resident, of every process.",
                    {
                        "{{instance}} {{process}} {{pid}}": "signpost_process_resident_memory_bytes"
                        f"{{{_HERE}}}"
                    },
                    unit="bytes",
                    width=8,
                ),
                graph(
                    "Starts and ends of web workers",
                    "By reason. Those of a deployment come together.",
                    {
                        "started": "sum(increase("
                        f"signpost_worker_starts_total{{{_HERE}}}[$__rate_interval]))",
                        "ended: {{reason}}": "sum by (reason) (increase("
                        f"signpost_worker_exits_total{{{_HERE}}}[$__rate_interval]))",
                    },
                    width=8,
                ),
                graph(
                    "Versions",
                    "How many processes run which.",
                    {"{{version}}": "count by (version) (signpost_build_info)"},
                    stacked=True,
                    width=8,
                ),
            ],
            "Jobs": [
                graph(
                    "Done and failed",
                    "By kind and outcome.",
                    {
                        "{{exported_job}}: {{outcome}}": "sum by (exported_job, outcome) "
                        "(rate(signpost_jobs_total[$__rate_interval]))"
                    },
                    unit="ops",
                    stacked=True,
                    width=8,
                ),
                graph(
                    "Duration",
                    "p95, by kind.",
                    {
                        "{{exported_job}}": "histogram_quantile(0.95, sum by (le, exported_job) "
                        "(rate(signpost_job_duration_seconds_bucket[$__rate_interval])))"
                    },
                    unit="s",
                    width=8,
                ),
                graph(
                    "Audit events lost",
                    "Changes that are missing in the audit log.",
                    {
                        "{{instance}}": "increase("
                        "signpost_audit_events_lost_total[$__rate_interval])"
                    },
                    width=8,
                ),
            ],
        },
    )
